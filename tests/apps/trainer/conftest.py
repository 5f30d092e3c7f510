"""The two shipped bases, trained for a moment on real digits: real models, once per session."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.trainer.vlm import TrainResult, VLMTrainConfig, VLMTrainer, vlm_trainer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from digits import LLAVA, QWEN, rows  # noqa: E402

BRIEF = {
    "learning_rate": 2e-3,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "bf16": False,
}
"""Settings of a run of a few seconds."""


@dataclass(frozen=True)
class Run:
    """A trainer and what it left."""

    trainer: VLMTrainer
    result: TrainResult


def train(base: Path, folder: Path, *, count: int = 64, **settings: object) -> Run:
    """Train a base on the first `count` digits."""
    trainer = vlm_trainer(
        model_id=base,
        train_dataset=rows(count),
        validation_dataset=rows(16, start=1200),
        config=VLMTrainConfig(**{**BRIEF, **settings}),
        output_dir=folder,
    )
    return Run(trainer, trainer.train())


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(QWEN, tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(LLAVA, tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session", name="QWEN")
def qwen_base() -> Path:
    return QWEN


@pytest.fixture(scope="session", name="LLAVA")
def llava_base() -> Path:
    return LLAVA

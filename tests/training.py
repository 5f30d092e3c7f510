"""Short training runs of the shipped bases on real digits."""

from dataclasses import dataclass
from pathlib import Path

from apps.trainer.vlm import TrainResult, VLMTrainConfig, VLMTrainer, vlm_trainer
from tests.digits import rows

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

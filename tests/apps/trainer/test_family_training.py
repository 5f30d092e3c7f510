"""Every family that can be trained here, trained: its own processor and chat template where they load.

One run of five steps per family; what each test asks of it is read from the same result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from apps.trainer import vlm
from apps.trainer.batch import Row
from apps.trainer.families import families
from apps.trainer.vlm import TrainResult, VLMTrainConfig, VLMTrainer, vlm_trainer
from kolm.names import plain_name
from kolm.tensors import read_tensors
from tests.pictures import two_tone
from tests.tiny import KIN, NOT_TRAINED, TRAINED, each
from tests.tiny.prepared import rows

CONFIG = VLMTrainConfig(
    learning_rate=5e-3, num_train_epochs=5, per_device_train_batch_size=2, gradient_accumulation_steps=2,
    lora_r=8, bf16=False, lr_scheduler="constant",
)  # fmt: skip

ROWS = [
    {"image": two_tone(60, 40, "red"), "prompt": "Which colour is it?", "response": "red"},
    {"image": two_tone(30, 70, "green"), "prompt": "What?", "response": "green green"},
    {
        "image": [two_tone(30, 70, "blue"), two_tone(33, 33, "red")],
        "prompt": "Which colour is it?",
        "response": "blue",
    },
    {"messages": [{"role": "user", "content": "Say yes."}, {"role": "assistant", "content": "yes"}]},
]
"""Three sizes of image, several in a row, and a row without one."""

TAKEN = {"paligemma": ROWS[:3], "florence2": [*ROWS[:2], ROWS[3]]}
"""PaliGemma takes no row without an image, Florence-2 none with several."""


@dataclass(frozen=True)
class Trained:
    trainer: VLMTrainer
    result: TrainResult


class Prepared(list[Row]):
    """Rows as `Rows` gives them, made by hand."""

    dropped: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()


@pytest.fixture(scope="module", params=each())
def run(
    request: pytest.FixtureRequest, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    name = request.param
    trainer = vlm_trainer(
        model_id=tiny(name),
        train_dataset=TAKEN.get(name, ROWS),
        config=CONFIG,
        output_dir=tmp_path_factory.mktemp(name),
    )
    with pytest.MonkeyPatch.context() as patch:
        if TRAINED[name] == "prepared tensors":
            _hand_over(patch, name)
        return Trained(trainer, trainer.train())


def _hand_over(patch: pytest.MonkeyPatch, name: str) -> None:
    """Put rows made by hand where the processor's would be; all that follows is the trainer's own."""
    plain = SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=0))
    patch.setattr(vlm, "load_processor", lambda *_, **__: plain)
    patch.setattr(
        vlm,
        "Encoder",
        lambda processor, config, family: SimpleNamespace(processor=processor, of=(family, config)),
    )
    patch.setattr(vlm, "Rows", lambda encoder, *_: Prepared(rows(name, *encoder.of)))


def test_the_loss_falls(run: Trained):
    losses = run.result.metrics["losses"]
    assert len(losses) == 5
    assert losses[-1] < 0.9 * losses[0]


def test_frozen_parameters_are_the_bases_own_and_stay_so(run: Trained):
    frozen = [p for p in run.result.manifest.parameters if p.state == "frozen"]
    assert {p.part for p in frozen} >= {"vision", "language"}
    assert all(p.before == p.after for p in frozen)


def test_what_was_planned_moved_and_nothing_else(run: Trained):
    plan, manifest = run.trainer.plan(), run.result.manifest
    trained = {p.name: p for p in manifest.parameters if p.state == "trainable"}
    assert set(trained) == set(plan.trained)
    assert {p.part for p in trained.values()} <= {"language", "projector"}
    still = [p.name for p in trained.values() if not (p.gradient and p.gradient.seen)]
    assert not still
    assert all(p.before != p.after for p in trained.values())


def test_the_adapter_holds_what_was_trained(run: Trained):
    saved = read_tensors(run.result.adapter_dir / "adapter_model.safetensors")
    assert {plain_name(name) for name in saved} == set(run.result.manifest.trainable)


def test_the_reopened_adapter_answers_as_the_trained_model(run: Trained):
    reopened = run.result.metrics["reopened"]
    assert reopened["largest_logit"] > 0.1
    assert reopened["reloaded"] <= 1e-5 * reopened["largest_logit"]
    assert reopened["merged"] <= 1e-3 * reopened["largest_logit"]


def test_rows_split_by_their_images_weigh_every_token_alike(tiny: Callable[[str], Path], tmp_path: Path):
    """Llama 3.2's four rows take three passes however they are batched: the step is the same."""
    losses = []
    for size in (1, 4):
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size}
        config = CONFIG.model_copy(update={**settings, "max_steps": 2})
        folder = tmp_path / str(size)
        trainer = vlm_trainer(model_id=tiny("mllama"), train_dataset=ROWS, config=config, output_dir=folder)
        losses.append(trainer.train().metrics["losses"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_every_family_is_trained_here_or_said_not_to_be():
    known = {family.name for family in families() if family.sees_images}
    trained = {KIN.get(name, name) for name in TRAINED}
    assert not trained & set(NOT_TRAINED)
    assert trained | set(NOT_TRAINED) == known
    assert len([name for name, means in TRAINED.items() if means == "own processor"]) >= 12

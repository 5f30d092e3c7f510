"""A projector's own training: alone, warmed up, at a rate of its own, in its own mode."""

from pathlib import Path
from typing import Any

import pytest

from apps.trainer.bases import find_base
from apps.trainer.freeze import training_mode, wrap
from apps.trainer.load import meta_model
from apps.trainer.plan import plan_for
from apps.trainer.vlm import vlm_trainer
from kolm.errors import SpecError, TrainError
from kolm.names import plain_name
from kolm.spec import VLMTrainConfig
from tests.compiled import compile_with
from tests.digits import LLAVA, QWEN, rows

ONLY_PROJECTOR = {"projector": "full", "language": "frozen"}
BLIND = {"prompt": "Say seven.", "response": "seven"}
ONE_BY_ONE = {"per_device_train_batch_size": 1, "bf16": False, "num_train_epochs": 1}


def run(data: list[dict[str, Any]], folder: Path, **settings: Any) -> Any:
    config = VLMTrainConfig(**{**ONE_BY_ONE, **settings})
    return vlm_trainer(model_id=LLAVA, train_dataset=data, config=config, output_dir=folder).train()


def test_after_its_warm_up_the_projector_stays_and_the_rest_trains(tmp_path: Path):
    parts = {"projector": "warmup"}
    done = compile_with(LLAVA, tmp_path, parts=parts, projector_warmup_steps=3, projector_lr=1e-2)
    same = {"projector_warmup_steps": 3, "projector_lr": 1e-2, "max_steps": 4}
    short = compile_with(LLAVA, tmp_path, parts=parts, **same)
    assert done.report.failure is None
    assert done.manifest.treatments()["projector"] == "full"
    assert done.moved == {p.name for p in done.manifest.parameters if p.part == "projector"}
    after = [{p.name: p.after for p in c.manifest.parameters} for c in (done, short)]
    differs = {name for name in after[0] if after[0][name] != after[1][name]}
    assert differs == {p.name for p in done.manifest.parameters if p.before is None}


def test_in_its_warm_up_the_projector_trains_alone(tmp_path: Path):
    """The projector after three steps of a warm-up is that of three steps in which nothing else trains."""
    warm = compile_with(LLAVA, tmp_path, parts={"projector": "warmup"}, projector_warmup_steps=3, max_steps=4)
    alone = compile_with(LLAVA, tmp_path, parts=ONLY_PROJECTOR, max_steps=3)
    ends = [{p.name: p.after for p in c.manifest.parameters if p.part == "projector"} for c in (warm, alone)]
    assert ends[0] == ends[1]


def test_the_projectors_rate_is_its_own(tmp_path: Path):
    usual, faster = (
        compile_with(LLAVA, tmp_path, parts={"projector": "full"}, max_steps=1, **rate)
        for rate in ({}, {"projector_lr": 1e-2})
    )
    after = [{p.name: p.after for p in c.manifest.parameters} for c in (usual, faster)]
    differs = {name for name in after[0] if after[0][name] != after[1][name]}
    assert differs == {p.name for p in usual.manifest.parameters if p.part == "projector"}


def test_rows_that_are_dropped_do_not_lengthen_a_warm_up_over_everything(tmp_path: Path):
    """Of three steps one is the adapters'; without the row that is too long there are two."""
    long = {**rows(1)[0], "response": "seven " * 300}
    settings = {"parts": {"projector": "warmup"}, "projector_warmup_steps": 2, "max_seq_length": 64}
    with pytest.raises(SpecError, match="2 rows make 2 steps"):
        run([*rows(2), long], tmp_path, gradient_accumulation_steps=1, on_overlong="drop", **settings)


def test_a_batch_without_images_says_nothing_to_a_projector_that_trains_alone(tmp_path: Path):
    both = run([*rows(1), BLIND], tmp_path, parts=ONLY_PROJECTOR, gradient_accumulation_steps=2)
    assert both.metrics["steps"] == 1
    assert all(p.gradient.seen for p in both.manifest.parameters if p.state == "trainable")


def test_a_step_without_any_image_is_refused_where_a_projector_trains_alone(tmp_path: Path):
    with pytest.raises(TrainError, match="no trained parameter received a gradient") as error:
        run([*rows(1), BLIND], tmp_path, parts=ONLY_PROJECTOR, gradient_accumulation_steps=1)
    assert "an image in every step" in error.value.hint


def test_a_projector_inside_a_frozen_tower_is_in_train_mode_and_the_tower_is_not():
    """Dropout of its adapters would be off otherwise."""
    base = find_base(QWEN, model="base")
    config = VLMTrainConfig(parts={"projector": "lora"}, lora_dropout=0.5)
    model = meta_model(base)
    plan = plan_for(model, base.family, config)
    wrapped = wrap(model, plan, config)
    training_mode(wrapped, base.family, plan)
    modes: dict[str | None, set[bool]] = {}
    for name, module in wrapped.named_modules():
        modes.setdefault(base.family.part_of(plain_name(name)), set()).add(module.training)
    modes.pop(None)
    assert modes == {"vision": {False}, "projector": {True}, "language": {True}, "head": {False}}

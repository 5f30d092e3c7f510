"""The trainer on real models and real digits: what it trains, what it leaves alone, what it says."""

import base64
import io
import json
from pathlib import Path

import pytest
import torch

from apps.trainer.vlm import VLMTrainConfig, vlm_trainer
from kolm.canonical import parse_canonical_lines
from kolm.errors import DataError, KolmError, SpecError, TrainError
from kolm.globs import expand
from kolm.names import plain_name
from kolm.tensors import read_tensors
from kolm.trainlog import read_log
from tests.digits import rows
from tests.training import BRIEF, Run, train


def adapter_names(run: Run) -> set[str]:
    return {plain_name(key) for key in read_tensors(run.result.adapter_dir / "adapter_model.safetensors")}


def test_the_documented_example_runs_unchanged_on_three_kinds_of_image(qwen_base: Path, tmp_path: Path):
    image, path = rows(1)[0]["image"], tmp_path / "digit.png"
    image.save(path)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    shown = [image, str(path), base64.b64encode(buffer.getvalue()).decode()]
    data = [{"image": picture, "prompt": "Which digit is it?", "response": "six"} for picture in shown]

    trainer = vlm_trainer(model_id=str(qwen_base), train_dataset=data, config=VLMTrainConfig(
        lora_r=16, lora_alpha=32, freeze_vision=True, learning_rate=1e-4, max_seq_length=2048,
        num_train_epochs=1, per_device_train_batch_size=1, gradient_accumulation_steps=8, bf16=True,
    ))  # fmt: skip
    result = trainer.train()

    assert (result.adapter_dir / "adapter_model.safetensors").is_file()
    assert result.manifest.part_states()["vision"] == ["frozen"]
    assert sorted(read_log(result.log).steps[0].rows) == ["row-000001", "row-000002", "row-000003"]
    assert result.metrics["train_examples"] == 3


@pytest.mark.parametrize("run", ["qwen", "llava"])
def test_frozen_parameters_are_the_bases_own_bytes_before_and_after(run: str, request: pytest.FixtureRequest):
    manifest = request.getfixturevalue(run).result.manifest
    frozen = [p for p in manifest.parameters if p.state == "frozen"]
    assert frozen
    assert all(p.before == p.after for p in frozen)
    assert {p.base.relation for p in frozen} == {"identical"}
    manifest.check()


@pytest.mark.parametrize("run", ["qwen", "llava"])
def test_the_adapter_holds_what_was_trained_and_nothing_in_vision(run: str, request: pytest.FixtureRequest):
    chosen = request.getfixturevalue(run)
    assert adapter_names(chosen) == set(chosen.result.manifest.trainable)
    parts = {p.name: p.part for p in chosen.result.manifest.parameters}
    assert not [name for name in adapter_names(chosen) if parts[name] == "vision"]


def test_qwens_merger_is_frozen_by_default(qwen: Run):
    manifest = qwen.result.manifest
    assert manifest.part_states()["projector"] == ["frozen"]
    assert "visual.merger" in manifest.frozen_modules
    assert all(".lora_" in name for name in manifest.trainable)


def test_llavas_projector_is_trained_by_default(llava: Run):
    manifest = llava.result.manifest
    projector = [p for p in manifest.parameters if p.part == "projector"]
    assert {p.state for p in projector} == {"trainable"}
    assert all(p.before != p.after for p in projector)
    assert all(p.gradient and p.gradient.seen for p in projector)
    assert {p.base.relation for p in projector} == {"identical"}
    assert "multi_modal_projector" in " ".join(manifest.trainable_modules)


def test_parts_projector_full_trains_qwens_merger_and_says_so(qwen_base: Path, tmp_path: Path):
    run = train(qwen_base, tmp_path, count=32, num_train_epochs=1, parts={"projector": "full"})
    merger = [p for p in run.result.manifest.parameters if p.part == "projector"]
    assert {p.state for p in merger} == {"trainable"}
    assert all(p.before != p.after for p in merger if p.name.endswith("weight"))
    assert "visual.merger" in run.result.manifest.trainable_modules
    assert {p.name for p in merger} <= adapter_names(run)
    assert run.result.manifest.part_states()["vision"] == ["frozen"]


@pytest.mark.parametrize("run", ["qwen", "llava"])
def test_every_trained_parameter_saw_a_gradient_and_moved(run: str, request: pytest.FixtureRequest):
    trained = [p for p in request.getfixturevalue(run).result.manifest.parameters if p.state == "trainable"]
    assert all(p.gradient is not None and p.gradient.seen and p.gradient.max_norm > 0 for p in trained)


@pytest.mark.parametrize("run", ["qwen", "llava"])
def test_the_short_lists_expand_to_the_exact_lists(run: str, request: pytest.FixtureRequest):
    manifest = request.getfixturevalue(run).result.manifest
    names = [p.name for p in manifest.parameters]
    assert expand(manifest.frozen_modules, names) == manifest.frozen
    assert expand(manifest.trainable_modules, names) == manifest.trainable


def test_the_loss_falls_and_the_log_chains_it(qwen: Run):
    losses = qwen.result.metrics["losses"]
    assert sum(losses[-2:]) < sum(losses[:2])
    log = read_log(qwen.result.log)
    assert len(log.steps) == len(losses) == 8
    assert [
        line["step"]
        for line in parse_canonical_lines(qwen.result.log, what="log")
        if "validation_loss" in line
    ] == [4, 8]
    assert sorted(log.steps[0].rows + log.steps[1].rows + log.steps[2].rows + log.steps[3].rows) == sorted(
        {row for step in log.steps for row in step.rows}
    )


def test_the_same_inputs_give_the_same_bytes_and_another_seed_others(
    qwen: Run, qwen_base: Path, tmp_path: Path
):
    again = train(qwen_base, tmp_path / "again")
    other = train(qwen_base, tmp_path / "other", seed=1)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (again.result.adapter_dir / name).read_bytes() == (qwen.result.adapter_dir / name).read_bytes()
    assert again.result.log == qwen.result.log
    assert again.result.manifest == qwen.result.manifest
    assert other.result.log != qwen.result.log
    weights = "adapter_model.safetensors"
    assert (other.result.adapter_dir / weights).read_bytes() != (
        qwen.result.adapter_dir / weights
    ).read_bytes()


def test_the_adapter_config_names_every_target_and_no_folder(qwen: Run):
    config = json.loads((qwen.result.adapter_dir / "adapter_config.json").read_text())
    plan = qwen.trainer.plan()
    assert config["target_modules"] == sorted(plan.targets)
    assert sorted(p.name for p in qwen.result.adapter_dir.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_overlong_rows_are_refused_or_dropped_and_counted(qwen_base: Path, tmp_path: Path):
    long = {"image": rows(1)[0]["image"], "prompt": "Which?", "response": "seven " * 300}
    data = [*rows(4), long]
    settings = {**BRIEF, "max_seq_length": 128, "max_steps": 1}
    with pytest.raises(DataError, match="row-000005"):
        vlm_trainer(model_id=qwen_base, train_dataset=data, config=VLMTrainConfig(**settings)).train()
    kept = vlm_trainer(
        model_id=qwen_base,
        train_dataset=data,
        config=VLMTrainConfig(**settings, on_overlong="drop"),
        output_dir=tmp_path,
    ).train()
    assert kept.metrics["dropped"] == ["row-000005"]
    assert kept.metrics["train_examples"] == 4


def test_a_loss_that_is_no_number_ends_the_run(qwen_base: Path, tmp_path: Path):
    with pytest.raises(TrainError, match="loss is"):
        train(qwen_base, tmp_path, count=32, learning_rate=1e30, num_train_epochs=4)


def test_the_best_weights_by_validation_loss_are_kept(qwen_base: Path, tmp_path: Path):
    """Six steps at a rate that only does harm: the best weights are those of an earlier, shorter run."""
    harmful = {"learning_rate": 0.05, "lr_scheduler": "constant", "count": 16}
    best = train(qwen_base, tmp_path / "best", num_train_epochs=6, **harmful)
    losses = {
        line["step"]: line["validation_loss"]
        for line in parse_canonical_lines(best.result.log, what="log")
        if "validation_loss" in line
    }
    kept = best.result.metrics["kept_step"]
    assert kept == min(losses, key=losses.__getitem__)
    assert kept < 6
    assert best.result.metrics["checkpoint"] == "best"
    until_then = train(
        qwen_base, tmp_path / "last", max_steps=kept, num_train_epochs=6, keep="last", **harmful
    )
    assert until_then.result.metrics["checkpoint"] == "last"
    weights = "adapter_model.safetensors"
    assert (best.result.adapter_dir / weights).read_bytes() == (
        until_then.result.adapter_dir / weights
    ).read_bytes()


def test_accumulated_batches_weigh_every_token_alike(qwen_base: Path, tmp_path: Path):
    """Four rows at once and four times one row are the same step."""
    whole, parts = (
        train(
            qwen_base, tmp_path / name, count=4, num_train_epochs=1,
            per_device_train_batch_size=size, gradient_accumulation_steps=4 // size,
        )
        for name, size in (("whole", 4), ("parts", 1))
    )  # fmt: skip
    assert whole.result.metrics["steps"] == parts.result.metrics["steps"] == 1
    assert whole.result.metrics["losses"] == pytest.approx(parts.result.metrics["losses"], rel=1e-5)
    norms = [
        {p.name: p.gradient.max_norm for p in r.result.manifest.parameters if p.gradient}
        for r in (whole, parts)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3, abs=1e-6)


def test_torchs_settings_are_as_they_were_afterwards(qwen: Run):
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"projector_lr": 1e-3}, "projector_lr has no effect"),
        ({"bias": "all"}, "not supported yet"),
        ({"device": "cuda"}, "cannot be loaded"),
        ({"attn_implementation": "flash_attention_2"}, "cannot be loaded"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused(
    qwen_base: Path, tmp_path: Path, settings: dict[str, object], says: str
):
    with pytest.raises(KolmError, match=says) as error:
        train(qwen_base, tmp_path, count=2, **settings)
    assert error.value.hint


def test_validation_settings_need_validation_rows(qwen_base: Path):
    config = VLMTrainConfig(**{**BRIEF, "keep": "best"})
    with pytest.raises(SpecError, match="need validation rows"):
        vlm_trainer(model_id=qwen_base, train_dataset=rows(2), config=config).train()


def test_gradient_checkpointing_recomputes_and_changes_no_bit(qwen_base: Path, tmp_path: Path):
    weights, passes, runs = "adapter_model.safetensors", [], []
    for saving in (False, True):
        calls: list[int] = []
        hook = torch.nn.modules.module.register_module_forward_hook(lambda *_, seen=calls: seen.append(1))
        run = train(
            qwen_base, tmp_path / str(saving), count=16, num_train_epochs=1, gradient_checkpointing=saving
        )
        hook.remove()
        passes.append(len(calls))
        runs.append((run.result.adapter_dir / weights).read_bytes())
    assert passes[1] > passes[0]
    assert runs[1] == runs[0]


def test_rows_are_checked_before_a_weight_is_read(qwen_base: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("apps.trainer.vlm.load_model", lambda *_: pytest.fail("weights were read"))
    trainer = vlm_trainer(
        model_id=str(qwen_base), train_dataset=rows(2), config=VLMTrainConfig(max_seq_length=8)
    )
    with pytest.raises(DataError, match="do not fit max_seq_length 8"):
        trainer.train()

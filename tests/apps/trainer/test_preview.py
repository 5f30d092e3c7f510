"""What a plan says is what the trainer then does: lists, counts, bytes; and what it says of bad rows."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.trainer import rates
from apps.trainer.bases import find_base
from apps.trainer.collate import Encoder
from apps.trainer.draft import open_draft, show_row
from apps.trainer.families import family_of
from apps.trainer.load import meta_model
from apps.trainer.meter import Work
from apps.trainer.plan import plan_for
from apps.trainer.preview import Preview, preview
from apps.trainer.processor import load_processor
from apps.trainer.rates import Correction, Rate, keep_correction, rate_of
from apps.trainer.rehearsal import Stage
from apps.trainer.saved import saved_size
from apps.trainer.skeleton import skeleton
from apps.trainer.survey import survey
from kolm.dataset import TextPart, dataset_of
from kolm.errors import DataError, SpecError, TrainError
from kolm.inputs import Inputs, read_inputs
from kolm.modules import ModuleManifest
from kolm.spec import VLMTrainConfig, load_spec
from kolm.tensors import read_header
from tests.digits import LLAVA, QWEN, rows
from tests.training import BRIEF, Run, train


def saved_by(run: Run) -> Path:
    return next(run.result.adapter_dir.glob("*.safetensors"))


def stage_of(base: Path, **settings: object) -> Stage:
    config = VLMTrainConfig(**{**BRIEF, **settings})
    found = find_base(base, model="base", weights=False)
    model = meta_model(found)
    return Stage(model, found.family, plan_for(model, found.family, config), config)


@pytest.mark.parametrize(("run", "base"), [("qwen", QWEN), ("llava", LLAVA)], ids=["qwen", "llava"])
def test_the_saved_file_has_the_size_that_was_planned_to_the_byte(run: str, base: Path, request):
    path = saved_by(request.getfixturevalue(run))
    planned = saved_size(stage_of(base).saved())
    tensors = read_header(path).values()
    assert planned.tensor_bytes == sum(entry.bytes for entry in tensors)
    assert planned.parameters == sum(math.prod(entry.shape) for entry in tensors)
    assert planned.tensors == len(tensors)
    assert planned.tensor_bytes + planned.header_bytes == path.stat().st_size


@pytest.mark.parametrize(
    "settings",
    [{"method": "full", "parts": {"language": "full"}}, {"method": "dora", "parts": {"projector": "lora"}}],
    ids=["full", "dora"],
)
def test_other_methods_save_what_was_planned_too(settings: dict[str, Any], tmp_path: Path):
    brief = {**settings, "max_steps": 1, "num_train_epochs": 1}
    path = saved_by(train(QWEN, tmp_path, count=16, **brief))
    planned = saved_size(stage_of(QWEN, **brief).saved())
    assert planned.tensor_bytes + planned.header_bytes == path.stat().st_size


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from kolm.cli import app

    folder = tmp_path_factory.mktemp("plan") / "digits"
    options = ["--base", "llava-tiny", "--train-rows", "24", "--eval-rows", "24"]
    assert CliRunner().invoke(app, ["init", "--demo", "digits", str(folder), *options]).exit_code == 0
    return folder / "spec.yaml"


@pytest.fixture(scope="module")
def inputs(spec: Path) -> Inputs:
    return read_inputs(load_spec(spec), sees_images=True)


@pytest.fixture(scope="module")
def found(spec: Path, inputs: Inputs) -> Preview:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOLM_HOME", str(spec.parent / "home"))
        return preview(open_draft(load_spec(spec)), inputs)


def test_the_lists_are_those_of_the_manifest(found: Preview, llava: Run):
    manifest: ModuleManifest = llava.result.manifest
    assert list(found.lists.frozen_modules) == manifest.frozen_modules
    assert list(found.lists.trainable_modules) == manifest.trainable_modules
    assert sorted(found.lists.frozen) == sorted(manifest.frozen)
    assert sorted(found.lists.trainable) == sorted(manifest.trainable)


def test_the_counts_are_those_of_the_model(found: Preview, llava: Run):
    manifest = llava.result.manifest
    for part in found.parts:
        assert part.parameters == manifest.size(part.part, added=False)
        trained = [p for p in manifest.parameters if p.part == part.part and p.state == "trainable"]
        assert part.trained == sum(p.elements for p in trained)
    assert found.servable_as == manifest.servable_as == "merged"
    assert found.servable_why.startswith("projector trained in full")


def test_the_route_is_checked_on_the_model(found: Preview):
    assert (found.route.family, found.route.trainer, found.route.verified) == ("llava", "vlm", True)
    assert found.route.model_class == "LlavaForConditionalGeneration"


def test_rows_steps_and_settings(found: Preview, inputs: Inputs):
    assert found.rows is not None
    assert found.estimate is not None
    assert found.rows.train == inputs.dataset.count == 24
    assert found.rows.image_tokens.least == found.rows.image_tokens.most == 16
    assert found.rows.tokens.least > 16
    assert found.estimate.extent == "step"
    assert found.estimate.steps > 0
    assert found.estimate.step_s > 0
    assert found.resolved["dtype"] == "float32"
    assert found.refused == ()


def test_the_document_is_json(found: Preview):
    document = json.loads(json.dumps(found.document()))
    assert document["lists"]["frozen"] == list(found.lists.frozen)
    assert document["estimate"]["plain"]["weights_bytes"] > 0


def test_a_bad_row_is_listed_and_does_not_end_the_plan(spec: Path, inputs: Inputs, kolm_home: Path):
    broken = inputs.dataset.examples[3]
    turn = replace(broken.messages[0], content=(*broken.messages[0].content, TextPart("<image>")))
    rewritten = replace(broken, messages=(turn, *broken.messages[1:]))
    examples = (*inputs.dataset.examples[:3], rewritten, *inputs.dataset.examples[4:])
    seen = preview(open_draft(load_spec(spec)), replace(inputs, dataset=inputs.dataset.keeping(examples)))
    assert [refusal.row for refusal in seen.refused] == [broken.id]
    assert seen.rows is not None
    assert seen.rows.train == 23


def test_a_row_is_shown_with_what_is_learned_from_it(spec: Path, inputs: Inputs):
    text, spans = show_row(open_draft(load_spec(spec)), inputs, 2)
    assert "<image> x 16" in text
    assert len(spans) == 1
    assert spans[0] in text
    with pytest.raises(SpecError, match="no row 24"):
        show_row(open_draft(load_spec(spec)), inputs, 24)


def surveyed(**settings: Any) -> Any:
    base = find_base(QWEN, model="base", weights=False)
    encoder = Encoder(load_processor(base), meta_model(base).config, base.family)
    given = [dict(row) for row in rows(3)]
    given[1]["prompt"] = "Which digit is this? " * 8
    given[2]["response"] = "seven " * 40
    return survey(encoder, dataset_of(given), VLMTrainConfig(max_seq_length=60, **settings))


def test_rows_are_cut_dropped_or_refused():
    refused = surveyed()
    assert (refused.rows, len(refused.truncated), len(refused.refused)) == (2, 1, 1)
    dropped = surveyed(on_overlong="drop")
    assert (dropped.rows, len(dropped.dropped), dropped.refused) == (2, 1, [])


def test_rows_that_are_all_dropped_end_the_plan_as_they_end_a_compile():
    base = find_base(QWEN, model="base", weights=False)
    encoder = Encoder(load_processor(base), meta_model(base).config, base.family)
    with pytest.raises(DataError, match="no row is left"):
        survey(encoder, dataset_of(rows(2)), VLMTrainConfig(max_seq_length=8, on_overlong="drop"))


def with_settings(spec: Path, train: str) -> Path:
    """Write the spec again with other training settings."""
    text, count = re.subn(r"(?s)\ntrain:\n.*?\n\n", f"\ntrain: {train}\n\n", spec.read_text())
    assert count == 1
    path = spec.with_name("other.yaml")
    path.write_text(text)
    return path


def test_a_warm_up_that_never_ends_is_refused_by_the_plan_too(spec: Path, inputs: Inputs, kolm_home: Path):
    other = with_settings(spec, "{parts: {projector: warmup}, projector_warmup_steps: 3}")
    with pytest.raises(SpecError, match="24 rows make 3 steps"):
        preview(open_draft(load_spec(other)), inputs)


def test_a_device_that_is_not_here_is_one_message(kolm_home: Path):
    with pytest.raises(TrainError, match=r"train\.device: cuda:900 is not on this machine") as raised:
        rate_of("cuda:900", "float32")
    assert raised.value.hint


def test_factors_are_counted_in_the_part_they_are_added_to(spec: Path, inputs: Inputs, kolm_home: Path):
    other = with_settings(spec, "{freeze_vision: false, parts: {vision: lora, projector: lora}}")
    seen = preview(open_draft(load_spec(other)), inputs)
    assert all(part.trained for part in seen.parts if part.treatment == "lora")
    assert sum(part.trained for part in seen.parts) == seen.saved.parameters


def test_names_and_shapes_alone_give_the_same_plan():
    config, base = VLMTrainConfig(), find_base(LLAVA, model="base", weights=False)
    true = plan_for(meta_model(base), family_of(LLAVA), config)
    guessed = plan_for(skeleton(true.shapes, model_type="llava", dtype="float32"), family_of(LLAVA), config)
    assert guessed.parts == true.parts
    assert guessed.states == true.states
    assert guessed.added == true.added
    assert [t.removeprefix("model.") for t in true.targets] == list(guessed.targets)


def test_a_model_whose_code_may_not_run_is_planned_from_its_headers(spec: Path):
    import torch
    from safetensors.torch import save_file

    base = spec.parent / "cambrian"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "cambrian_llama"}')
    names = {
        "model.embed_tokens.weight": (32, 16),
        "model.layers.0.self_attn.q_proj.weight": (16, 16),
        "model.layers.0.mlp.down_proj.weight": (16, 32),
        "model.norm.weight": (16,),
        "model.mm_projector.0.weight": (16, 8),
        "lm_head.weight": (32, 16),
    }
    tensors = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in names.items()}
    save_file(tensors, base / "model.safetensors")
    text = spec.read_text().replace("base/llava-tiny", "cambrian")
    planned = spec.with_name("cambrian.yaml")
    planned.write_text(text)
    draft = open_draft(load_spec(planned))
    found = preview(draft, read_inputs(draft.job.loaded, sees_images=True))
    assert not found.route.verified
    assert found.lists.targets == ("layers.0.mlp.down_proj", "layers.0.self_attn.q_proj")
    assert found.saved.parameters == 16 * (16 + 32) + 16 * (16 + 16) + 16 * 8
    assert found.rows is None


def test_work_takes_as_long_as_arithmetic_memory_and_calls_together():
    rate = Rate("cpu", "float32", 1, flops_per_s=100, bytes_per_s=10, operation_s=0.5)
    assert rate.seconds(Work(flops=200, moved_bytes=30, operations=4)) == 2 + 3 + 2


def test_a_rate_is_measured_once(kolm_home: Path, monkeypatch: pytest.MonkeyPatch):
    first = rate_of("cpu", "float32")
    assert first.flops_per_s > 1e6
    assert rate_of("cpu", "float32") == first
    (kolm_home / "rates.json").write_text("{damaged")
    assert rate_of("cpu", "float32").key == first.key


def test_a_correction_belongs_to_one_family_on_one_device(kolm_home: Path):
    rate = Rate("cpu", "float32", 1, 1.0, 1.0, 1.0)
    assert rates.correction("llava", rate) is None
    keep_correction("llava", rate, Correction(time=2.0, memory=1.1))
    assert rates.correction("llava", rate) == Correction(time=2.0, memory=1.1)
    assert rates.correction("qwen2_5_vl", rate) is None
    assert rates.correction("llava", replace(rate, threads=2)) is None

"""What a receipt says was planned is what `kolm plan` says; where nothing can be said, nothing is."""

import json
from pathlib import Path

import pytest

from apps.trainer.draft import open_draft
from apps.trainer.job import Job
from apps.trainer.prediction import SAMPLE
from apps.trainer.preview import preview
from kolm.inputs import Inputs, read_inputs
from kolm.spec import LoadedSpec, load_spec
from tests.bundles import write_eval_pack
from tests.digits import QWEN, digits


def inputs_of(folder: Path, *, rows: int, **train: object) -> tuple[LoadedSpec, Inputs]:
    """A spec over so many digits, the last one with a longer question than the others."""
    (folder / "train").mkdir()
    (folder / "base").symlink_to(QWEN)
    lines = []
    for n, (image, word) in enumerate(digits(rows)):
        image.save(folder / "train" / f"{n}.png")
        asked = "Which digit is it?" * (4 if n == rows - 2 else 1)
        lines.append(json.dumps({"image": f"{n}.png", "prompt": asked, "response": word}) + "\n")
    (folder / "train" / "pairs.jsonl").write_text("".join(lines), encoding="utf-8")
    write_eval_pack(folder / "eval", rows=4)
    spec = {
        "kolm": 1,
        "name": "digits",
        "base": {"model": "base"},
        "data": {"train": "train/pairs.jsonl", "eval": "eval/pack.yaml"},
        "train": {"per_device_train_batch_size": 4, "bf16": False, **train},
        "eval": {"min_accuracy": 0.5},
    }
    (folder / "spec.yaml").write_text(json.dumps(spec), encoding="utf-8")  # JSON is YAML
    loaded = load_spec(folder / "spec.yaml")
    return loaded, read_inputs(loaded, sees_images=True)


def test_a_job_predicts_from_a_sample_what_the_plan_predicts_from_all_rows(tmp_path: Path):
    loaded, inputs = inputs_of(tmp_path, rows=5 * SAMPLE)
    found = Job.open(loaded).predict(inputs.dataset)
    planned = preview(open_draft(loaded), inputs).estimate
    assert planned is not None
    assert found["peak_bytes"] == pytest.approx(planned.peak_bytes, rel=0.01)
    assert found["step_ns"] == pytest.approx(planned.step_s * 1e9, rel=0.05)


def test_nothing_is_predicted_where_no_row_fits(tmp_path: Path):
    loaded, inputs = inputs_of(tmp_path, rows=4, max_seq_length=16, on_overlong="drop")
    assert Job.open(loaded).predict(inputs.dataset) == {"peak_bytes": None, "step_ns": None}

"""Using a compiled model: one question, a table, and from Python."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from apps.trainer.run import CompiledModel
from kolm.artifact import Artifact
from kolm.errors import TrainError
from tests.digits import PROMPT
from tests.e2e.conftest import Compiled, kolm


def stored(made: Compiled) -> dict[str, str]:
    """Return {image file name: what the tuned model said} from the artifact's eval rows."""
    artifact = Artifact.open(made.artifact)
    said = {
        row["id"]: row["outputs"]["tuned"]["raw"]
        for row in map(json.loads, artifact.read("eval/rows.jsonl").splitlines())
    }
    questions = map(json.loads, (made.folder / "eval" / "pack.jsonl").read_text().splitlines())
    return {Path(question["image"]).name: said[question["id"]] for question in questions}


def test_run_answers_as_the_evaluation_did(qwen: Compiled):
    image, answer = next(iter(stored(qwen).items()))
    result = kolm("run", qwen.artifact, "--image", qwen.folder / "eval/images" / image, "--prompt", PROMPT)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{answer}\n"
    assert "not verified: `kolm verify`" in result.stderr


def test_run_answers_a_whole_table(qwen: Compiled, tmp_path: Path):
    table = qwen.folder / "eval" / "questions.csv"
    answers = list(stored(qwen).items())[:5]
    lines = [f"images/{image},{PROMPT}" for image, _ in answers]
    table.write_text("\n".join(["image_path,question", *lines]) + "\n")
    result = kolm("run", qwen.artifact, "--rows", table, "--out", tmp_path / "answers.csv")
    assert result.exit_code == 0, result.stderr
    with (tmp_path / "answers.csv").open() as handle:
        assert [row["response"] for row in csv.DictReader(handle)] == [answer for _, answer in answers]


def test_python_answers_as_the_command_does(qwen: Compiled):
    image, answer = list(stored(qwen).items())[1]
    with CompiledModel.open(qwen.artifact) as model:
        assert model.ask([qwen.folder / "eval/images" / image], PROMPT) == answer


def test_a_table_with_a_bad_row_names_it_and_writes_nothing(qwen: Compiled, tmp_path: Path):
    table = tmp_path / "questions.jsonl"
    table.write_text(json.dumps({"image": "missing.png", "prompt": PROMPT}) + "\n")
    result = kolm("run", qwen.artifact, "--rows", table, "--out", tmp_path / "answers.jsonl")
    assert result.exit_code == 6
    assert "row 1" in result.stderr
    assert not (tmp_path / "answers.jsonl").exists()


def test_a_base_that_moved_is_asked_for_and_one_that_changed_is_refused(
    qwen: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path / "elsewhere"))
    lost = kolm("run", qwen.artifact, "--image", "x.png", "--prompt", "?")
    assert lost.exit_code == 5
    assert "--base" in lost.stderr
    changed = tmp_path / "base"
    shutil.copytree(next((qwen.folder / "base").iterdir()), changed)
    (changed / "config.json").write_text((changed / "config.json").read_text() + " ")
    with (
        pytest.raises(TrainError, match=r"config\.json differs"),
        CompiledModel.open(qwen.artifact, base=changed),
    ):
        pass


@pytest.mark.parametrize("options", [[], ["--prompt", "?", "--rows", "x.csv"], ["--rows", "x.csv"]])
def test_run_says_how_it_wants_to_be_called(qwen: Compiled, options: list[str]):
    result = kolm("run", qwen.artifact, *options)
    assert result.exit_code == 2
    assert "--image" in result.stderr

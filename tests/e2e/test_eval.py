"""Scoring a compiled model on a pack: the models are asked as a compile asks them, and nobody signs."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from kolm.artifact import Artifact
from kolm.cli import eval as eval_command
from kolm.cli.bars import Bars
from tests.e2e.conftest import Compiled


def kolm_eval(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(eval_command.eval_)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows_of(made: Compiled) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (made.folder / "eval/pack.jsonl").read_text().splitlines()]


def write_pack(made: Compiled, folder: Path, rows: list[dict[str, Any]], *, metric: str = "exact@1") -> Path:
    """Write a pack of rows whose pictures lie in the demo's folder."""
    folder.mkdir(exist_ok=True)
    lines = [
        {**row, "slice": "all", "image": str((made.folder / "eval" / row["image"]).resolve())} for row in rows
    ]
    (folder / "pack.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    head = {"kolm-pack": 1, "name": "other", "version": 2, "slices": {"all": {"metric": metric}}}
    (folder / "pack.yaml").write_text(json.dumps(head))  # JSON is YAML
    return folder


@pytest.fixture(scope="module")
def measured(compiled_qwen: Compiled, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The compiled model on its own pack again."""
    out = tmp_path_factory.mktemp("eval") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOLM_HOME", str(compiled_qwen.home))
        return kolm_eval(compiled_qwen.artifact, "--pack", compiled_qwen.folder / "eval", "--out", out), out


def test_the_models_say_what_they_said_when_they_were_compiled(
    measured: tuple[Result, Path], qwen: Compiled
) -> None:
    result, out = measured
    assert result.exit_code == 4, result.stderr  # 24 rows are too few for a verdict
    assert (out / "rows.jsonl").read_bytes() == Artifact.open(qwen.artifact).read("eval/rows.jsonl")
    assert sorted(path.name for path in out.iterdir()) == ["kscore.json", "rows.jsonl"]


def test_the_document_says_what_was_measured_and_that_nobody_signed_it(
    measured: tuple[Result, Path], qwen: Compiled
) -> None:
    result, out = measured
    document = json.loads((out / "kscore.json").read_text())
    receipt = json.loads(qwen.receipt.read_text())
    assert (document["kind"], document["signed"]) == ("kolm-eval/1", False)
    assert document["artifact"] == receipt["artifact"]
    assert document["verdict"] == document["k_score"]["gate"]["verdict"] == "INCONCLUSIVE"
    assert document["k_score"]["attempts"] >= 2  # the compile was one
    assert len(document["timings"]) == document["pack"]["rows"] == 24
    assert document["environment"]["device"] == "cpu"
    near = next(c for c in document["k_score"]["gate"]["conditions"] if c["id"] == "no_near_duplicate")
    assert near["ok"] is None
    assert "not signed" in result.stderr
    assert "near duplicates of training pictures were not looked for" in result.stderr


def test_a_person_reads_the_lines_of_a_compile(measured: tuple[Result, Path]) -> None:
    lines = measured[0].stdout.splitlines()
    assert lines[0].startswith("pack     digits")
    assert [line.split()[0] for line in lines[1:5]] == ["eval", "gain", "K", "gate"]
    assert lines[-1].startswith("wrote    ")


def test_another_pack_is_scored_by_its_own_metric(qwen: Compiled, tmp_path: Path) -> None:
    pack = write_pack(qwen, tmp_path / "pack", rows_of(qwen)[:6], metric="anls@1")
    result = kolm_eval(qwen.artifact, "--pack", pack / "pack.yaml", "--json")
    assert result.exit_code == 4, result.stderr
    document = json.loads(result.stdout)
    assert document["pack"] | {"digest": ""} == {"name": "other", "version": "2", "rows": 6, "digest": ""}
    assert document["k_score"]["attempts"] == 1
    assert document["k_score"]["accuracy"]["slices"]["all"]["n"] == 6


def test_a_pack_of_training_pictures_fails(qwen: Compiled, tmp_path: Path) -> None:
    first = json.loads((qwen.folder / "train/pairs.jsonl").read_text().splitlines()[0])
    leaked = {"id": "leaked", "image": str(qwen.folder / "train" / first["image"]), "gold": first["response"]}
    rows = [*rows_of(qwen)[:3], {**leaked, "prompt": first["prompt"]}]
    result = kolm_eval(qwen.artifact, "--pack", write_pack(qwen, tmp_path / "pack", rows))
    assert result.exit_code == 3, result.stderr
    assert "FAIL no_leak" in result.stdout


def test_an_evaluation_that_was_stopped_is_no_attempt_and_goes_on_where_it_was(
    qwen: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Impatient(Bars):
        def asking(self, model: str, done: int, rows: int) -> None:
            asked.append(done)
            if stop and model == "tuned" and done == rows - 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(eval_command, "Bars", Impatient)
    pack, out = write_pack(qwen, tmp_path / "pack", rows_of(qwen)[6:12]), tmp_path / "out"
    counts = []
    for stop, code in ((True, 130), (False, 4)):
        asked.clear()
        result = kolm_eval(qwen.artifact, "--pack", pack, "--out", out, "--json")
        assert result.exit_code == code, result.stderr
        counts.append(len(asked))
        assert bool(list(out.iterdir())) is not stop
    assert counts[1] < counts[0]
    assert json.loads(result.stdout)["k_score"]["attempts"] == 1


@pytest.mark.parametrize(
    ("defect", "metric", "code", "said"),
    [("no image", "exact@1", 6, "no image in any row"), ("no metric", "exakt@1", 2, "unknown metric")],
)
def test_a_pack_that_says_nothing_about_the_model_is_refused_before_it_is_loaded(
    qwen: Compiled, tmp_path: Path, defect: str, metric: str, code: int, said: str
) -> None:
    pack = write_pack(qwen, tmp_path / "pack", rows_of(qwen)[:2], metric=metric)
    if defect == "no image":
        lines = [{"id": "a", "prompt": "Which?", "gold": "one"}]
        (pack / "pack.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = kolm_eval(qwen.artifact, "--pack", pack, "--out", tmp_path / "out")
    assert result.exit_code == code
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_out_that_cannot_be_written_is_found_before_anything_is_asked(
    qwen: Compiled, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    result = kolm_eval(qwen.artifact, "--pack", qwen.folder / "eval", "--out", tmp_path / "out")
    assert result.exit_code == 5
    assert "ask" not in result.stderr
    assert (tmp_path / "out").read_text() == "a file"

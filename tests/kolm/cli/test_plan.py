"""`kolm plan` as a user types it: the page, the object, a bad row, a shown row."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kolm.cli import app as kolm_app
from kolm.cli.plan import plan

app = typer.Typer()
app.command()(plan)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plan") / "digits"
    options = ["--base", "qwen2_5_vl-tiny", "--train-rows", "16", "--eval-rows", "24"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOLM_HOME", str(made.parent / "home"))
        done = CliRunner().invoke(kolm_app, ["init", "--demo", "digits", str(made), *options])
    assert done.exit_code == 0, done.stderr
    return made


def test_the_page_answers_what_is_frozen_trained_served_and_needed(folder: Path):
    result = CliRunner().invoke(app, [str(folder / "spec.yaml")])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert all(len(line) <= 110 for line in lines)
    starts = [line.split()[0] for line in lines if line[:1].strip()]
    answers = "route base lora frozen trained saved serve memory time rows gain leaks open"
    assert starts == answers.split()
    assert "visual.merger" in result.stdout
    assert "lora: LoRA factors in linear layers of the language tower" in result.stdout


def test_without_weights_the_plan_is_the_same_but_says_so(folder: Path, tmp_path: Path):
    bare = tmp_path / "digits"
    shutil.copytree(folder, bare)
    whole = json.loads(CliRunner().invoke(app, [str(bare / "spec.yaml"), "--json"]).stdout)
    (bare / "base" / "qwen2_5_vl-tiny" / "model.safetensors").unlink()
    result = CliRunner().invoke(app, [str(bare / "spec.yaml"), "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["lists"] == whole["lists"]
    assert found["saved"] == whole["saved"]
    assert found["route"]["notes"] == ["no weights at hand: sizes are those of config.json"]


def test_a_row_that_would_stop_the_compile_is_named_and_is_exit_code_6(folder: Path, tmp_path: Path):
    bad = tmp_path / "digits"
    shutil.copytree(folder, bad)
    pairs = bad / "train" / "pairs.jsonl"
    lines = pairs.read_text().splitlines()
    row = json.loads(lines[4])
    row["response"] = "seven " * 600
    lines[4] = json.dumps(row)
    pairs.write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(app, [str(bad / "spec.yaml")])
    assert result.exit_code == 6, result.stdout + result.stderr
    assert "refused  row" in result.stdout
    assert "15 train" in result.stdout


def test_a_pack_that_is_too_small_to_show_any_gain_is_called_that(folder: Path):
    result = CliRunner().invoke(app, [str(folder / "spec.yaml")])
    assert "gain     none can be shown: 24 eval rows are too few for any gain" in result.stdout


def test_the_least_gain_that_the_pack_and_its_slices_show_is_told(folder: Path, tmp_path: Path):
    large = tmp_path / "digits"
    shutil.copytree(folder, large)
    rows = (large / "eval" / "pack.jsonl").read_text().splitlines()
    changes = [{"id": f"row-{n}", "slice": "few" if n < 30 else "read"} for n in range(155)]
    many = [json.dumps(json.loads(rows[n % 24]) | change) for n, change in enumerate(changes)]
    (large / "eval" / "pack.jsonl").write_text("\n".join(many) + "\n")
    head = (large / "eval" / "pack.yaml").read_text().partition("slices:")[0]
    slices = "slices:\n  read: {metric: exact@1}\n  few: {metric: exact@1}\n"
    (large / "eval" / "pack.yaml").write_text(head + slices)
    page = CliRunner().invoke(app, [str(large / "spec.yaml")]).stdout
    assert "gain     0.100 over the base is the least that shows in 8 of 10 runs" in page
    assert "  few        none, 30 rows are too few" in page
    found = json.loads(CliRunner().invoke(app, [str(large / "spec.yaml"), "--json"]).stdout)["detectable"]
    assert found["discordant"] == 0.2
    assert found["pack"]["rows"] == 155
    assert found["pack"]["gain"] == pytest.approx(0.1, abs=0.001)
    assert found["slices"]["few"] == {"rows": 30, "gain": None}
    assert found["slices"]["read"]["gain"] > found["pack"]["gain"]


def test_a_row_is_shown_decoded(folder: Path):
    arguments = [str(folder / "spec.yaml"), "--show-row", "3", "--json"]
    found = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert len(found["supervised"]) == 1
    assert found["supervised"][0] in found["row"]
    refused = CliRunner().invoke(app, [str(folder / "spec.yaml"), "--show-row", "16"])
    assert refused.exit_code == 2


@pytest.mark.slow
def test_measuring_keeps_a_correction_that_the_next_plan_mentions(folder: Path):
    measured = CliRunner().invoke(app, [str(folder / "spec.yaml"), "--measure"])
    assert measured.exit_code == 0, measured.stderr
    again = CliRunner().invoke(app, [str(folder / "spec.yaml")])
    assert "corrected by real steps" in again.stdout

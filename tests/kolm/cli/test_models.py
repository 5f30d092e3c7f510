"""`kolm models`: the table of families, and the route of one id."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from apps.trainer.families import families
from kolm.cli.models import describe, models
from kolm.errors import UnknownFamilyError


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    models(*arguments)
    return capsys.readouterr().out


def test_the_table_lists_every_family_once(capsys: pytest.CaptureFixture[str]):
    lines = printed(capsys).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [family.name for family in families()]


def test_paths_that_were_never_compared_print_as_unverified(capsys: pytest.CaptureFixture[str]):
    unverified = {line.split()[0] for line in printed(capsys).splitlines() if "unverified" in line}
    assert unverified == {
        "cambrian", "internvl_chat", "kimi_vl", "nemotron_nano_vl", "nemotron_parse", "phi3_v", "phi4mm",
    }  # fmt: skip


def test_what_cannot_be_trained_says_so(capsys: pytest.CaptureFixture[str]):
    assert [line.split()[0] for line in printed(capsys).splitlines() if "cannot be trained" in line] == [
        "pix2struct"
    ]
    assert "its question is drawn on the image" in printed(capsys, "google/pix2struct-docvqa-base")


def test_json_holds_the_whole_table(capsys: pytest.CaptureFixture[str]):
    models(as_json=True)
    rows = {row["family"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert len(rows) == len(families())
    assert rows["qwen2_5_vl"] == {
        "family": "qwen2_5_vl", "trainer": "vlm", "model_types": ["qwen2_5_vl"], "projector": "frozen",
        "code": "transformers", "checked": True, "trained": True, "needs": [],
        "papers": ["arXiv:2502.13923", "arXiv:2304.08485"],
    }  # fmt: skip
    assert rows["llava"]["projector"] == "full"
    assert rows["llama"]["projector"] is None
    assert rows["kimi_k25"]["needs"] == ["torchvision"]


def test_an_id_shows_its_route(capsys: pytest.CaptureFixture[str]):
    models("moonshotai/Kimi-VL-A3B-Instruct", as_json=True)
    route = json.loads(capsys.readouterr().out)
    family = next(family for family in families() if family.name == "kimi_vl")
    assert route == {"id": "moonshotai/Kimi-VL-A3B-Instruct", **describe(family)}
    text = printed(capsys, "moonshotai/Kimi-VL-A3B-Instruct")
    assert "base.trust_remote_code: true" in text
    assert "unverified" in text


def test_a_folder_shows_the_route_of_its_config(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "gemma3_text"}')
    models(str(tmp_path), as_json=True)
    route = json.loads(capsys.readouterr().out)
    assert route["family"] == "gemma3_text"
    assert route["trainer"] == "text"


def test_an_unknown_id_exits_as_a_bad_spec_does(capsys: pytest.CaptureFixture[str]):
    import typer

    with pytest.raises(typer.Exit) as stopped:
        models("somebody/unheard-of")
    assert stopped.value.exit_code == UnknownFamilyError.exit_code
    assert "nearest known families" in capsys.readouterr().err


def test_the_table_needs_no_torch():
    code = "import sys; from kolm.cli.models import models; models(); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""`kolm verify --level 1` over a real compile: the base and the tuned model are asked again."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Compiled, kolm


def test_an_honest_compile_passes_and_can_be_audited_the_same_way_again(qwen: Compiled):
    first = kolm("verify", qwen.artifact, "--level", "1", "--rows", "5")
    assert first.exit_code == 0, first.stdout + first.stderr
    line = first.stdout.splitlines()[17]
    assert re.match(r"18  passed +replayed +outputs drawn by the auditor are what the model says: ", line)
    assert "5 of 24 rows drawn" in line
    assert "25 of 25 outputs match, 0 in score alone" in line
    nonce = re.search(r"nonce ([0-9a-f]{32}):", line)
    assert nonce is not None
    assert f"nonce    {nonce[1]}" in first.stderr
    again = kolm("verify", qwen.artifact, "--level", "1", "--rows", "5", "--nonce", nonce[1])
    assert again.stdout == first.stdout


def test_the_json_report_names_the_rows(qwen: Compiled):
    result = kolm("verify", qwen.artifact, "--level", "1", "--rows", "2", "--nonce", "ab" * 8, "--json")
    document = json.loads(result.stdout)
    assert document["ok"] is True
    assert document["replay"]["nonce"] == "ab" * 8
    assert len(document["replay"]["rows"]) == 2
    assert (document["replay"]["outputs"], document["replay"]["matches"]) == (10, 10)
    assert document["replay"]["differences"] == ["batch was 32, here 1"]


def test_a_base_that_is_not_here_is_no_verdict_about_the_artifact(
    qwen: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path))
    result = kolm("verify", qwen.artifact, "--level", "1", "--trust", qwen.home / "trust")
    assert result.exit_code == 5
    assert "not on this machine" in result.stderr
    assert "--base DIR" in result.stderr
    assert "VERIFIED" not in result.stdout
    found = kolm(
        "verify", qwen.artifact, "--level", "1", "--rows", "1", "--trust", qwen.home / "trust",
        "--base", next((qwen.folder / "base").iterdir()),
    )  # fmt: skip
    assert found.exit_code == 0, found.stdout + found.stderr


def test_no_model_is_opened_when_anything_else_is_wrong(qwen: Compiled, tmp_path: Path):
    changed = tmp_path / "base"
    shutil.copytree(next((qwen.folder / "base").iterdir()), changed)
    (changed / "config.json").write_text((changed / "config.json").read_text() + " ")
    (tmp_path / "nobody").mkdir()
    for options in (["--base", changed], ["--trust", tmp_path / "nobody"]):
        result = kolm("verify", qwen.artifact, "--level", "1", *options)
        assert result.exit_code == 7
        assert "not made, because check" in result.stdout.splitlines()[17]

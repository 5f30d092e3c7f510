"""The charts demo with fewer rows: a gain on tables that were never trained on, and it needs the pictures."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import edit, kolm
from tests.e2e.test_compile import statement


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_half_of_the_charts_show_a_gain_that_comes_from_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path / "home"))
    fewer = ("--train-rows", "4000", "--eval-rows", "200")
    assert kolm("init", "--demo", "charts", tmp_path / "charts", *fewer).exit_code == 0
    spec = edit(tmp_path / "charts" / "spec.yaml", num_train_epochs="4", k="0.10", min_accuracy="0.10")
    result = kolm("compile", spec, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["verdict"] == "PASS"
    score = statement(tmp_path / "out" / "charts.receipt.json", "urn:kolm:compile:v1")["k_score"]
    accuracy = score["accuracy"]
    assert accuracy["gain"]["interval"][0] > 0
    assert accuracy["image_gain"]["interval"][0] > 0
    assert accuracy["slices"].keys() == {"extremum", "lookup", "difference"}
    hard = {c["id"]: c["ok"] for c in score["gate"]["conditions"]}
    assert hard["no_leak"]
    assert hard["no_near_duplicate"]
    assert hard["frozen_unchanged"]

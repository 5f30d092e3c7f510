"""A pack that withholds its pictures, through everything that would show them."""

import json
from pathlib import Path

import pytest

from kolm.artifact import Artifact
from tests.e2e.conftest import edit, kolm


@pytest.mark.slow
def test_pack_without_its_pictures_goes_through_compile_verify_and_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path / "home"))
    demo, out = tmp_path / "demo", tmp_path / "out"
    rows = ("--train-rows", "16", "--eval-rows", "6")
    assert kolm("init", "--demo", "digits", demo, *rows).exit_code == 0
    edit(demo / "spec.yaml", num_train_epochs="1")
    pack = demo / "eval" / "pack.yaml"
    pack.write_text(pack.read_text() + "withhold: images\n")
    assert kolm("compile", demo / "spec.yaml", "--out", out).exit_code == 4
    artifact = Artifact.open(out / "digits.kolm")
    assert (artifact.members("image"), artifact.members("pixels")) == ([], ["eval/images.json"])
    report = (out / "digits.report.html").read_text()
    assert "digit-" in report
    assert "data:image/jpeg" not in report
    done = kolm("verify", out / "digits.kolm", "--json")
    assert done.exit_code == 0, done.stdout
    holdout = next(check for check in json.loads(done.stdout)["checks"] if check["id"] == "holdout")
    assert (holdout["status"], holdout["evidence"]) == ("passed", "signed only")
    refused = kolm("verify", out / "digits.kolm", "--level", "1")
    assert refused.exit_code == 2
    assert "--pack" in refused.stderr
    exported = kolm("export", out / "digits.kolm", "--to", "merged", "--out", tmp_path / "merged")
    assert exported.exit_code == 0, exported.stderr
    assert (tmp_path / "merged" / "model.safetensors").is_file()

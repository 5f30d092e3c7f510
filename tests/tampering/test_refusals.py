"""No refusal of the verifier is idle: without any one of them a test fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/tampering", *(f"tests/kolm/test_verify{name}.py" for name in ("", "_log", "_replay")))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_refusal_that_is_taken_out_is_missed(tmp_path: Path) -> None:
    found = tmp_path / "refusals"
    command = [sys.executable, "-m", "pytest", "-p", "tests.refusals", *TESTS, "-k", "not flip"]
    environment = os.environ | {"KOLM_REFUSALS": str(found), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    noticed = dict(json.loads(line) for line in found.read_text(encoding="utf-8").splitlines())
    assert "" not in noticed, "a test fails with every refusal in place"
    assert len(noticed) > 150
    assert [name for name, by in noticed.items() if not by] == []

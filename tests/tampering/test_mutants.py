"""No check is idle: with any one of them taken out, a test of an attack fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kolm.verify import CHECKS

ROOT = Path(__file__).resolve().parents[2]


def attacked(number: int) -> tuple[int, str]:
    """Run the tests of attacks against a verifier without this check; return exit code and who noticed."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.mutants", "-k", "test_attack_", "tests/tampering"]
    environment = os.environ | {"KOLM_MUTANT": str(number), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("noticed by "))
    return done.returncode, line.removeprefix("noticed by ")


@pytest.mark.slow
def test_the_whole_verifier_finds_every_attack() -> None:
    assert attacked(0) == (0, "nobody")


@pytest.mark.slow
@pytest.mark.parametrize("number", [step.number for step in CHECKS], ids=[step.id for step in CHECKS])
def test_a_check_that_is_taken_out_is_missed(number: int) -> None:
    _, who = attacked(number)
    assert "test_attack_" in who

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from kolm.cli import app

ROOT = Path(__file__).resolve().parents[3]


def test_without_torch_it_says_what_to_install() -> None:
    code = """
import sys
sys.modules["torch"] = None
import typer
from kolm.cli.run import run
typer.run(run)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "digits.kolm", "--image", "digit.png", "--prompt", "?"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 5
    assert done.stderr.splitlines() == [
        "error: this command needs torch, which is not installed",
        "hint: pip install 'kolm[train]'",
    ]


def test_an_answer_of_no_tokens_is_refused() -> None:
    asked = ["run", "digits.kolm", "--image", "digit.png", "--prompt", "?", "--max-new-tokens", "0"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "--max-new-tokens" in done.stderr

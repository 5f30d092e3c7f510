import os
import subprocess
import sys
from pathlib import Path

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

"""One small compile of each base through the command line, shared by the tests that look at it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kolm.cli import app

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"num_train_epochs": "2", "k": "0.10", "min_accuracy": "0.10"}
"""What the demo's spec is shortened to; the full one is `make demo`."""


def kolm(*arguments: str | Path) -> Result:
    """Run a command as a user would type it."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def edit(spec: Path, **values: str) -> Path:
    """Change values of keys that occur once in a spec file."""
    text = spec.read_text(encoding="utf-8")
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^(\s*{key}: )\S+", rf"\g<1>{value}", text)
        assert count == 1, key
    spec.write_text(text, encoding="utf-8")
    return spec


@dataclass(frozen=True)
class Compiled:
    """A demo folder and what was compiled from it."""

    home: Path
    folder: Path
    out: Path

    @property
    def artifact(self) -> Path:
        return self.out / "digits.kolm"

    @property
    def receipt(self) -> Path:
        return self.out / "digits.receipt.json"

    @property
    def spec(self) -> Path:
        return self.folder / "spec.yaml"


def compile_demo(folder: Path, home: Path, *, base: str, setenv: Callable[[str, str], None]) -> Compiled:
    """Init a short digits demo with a base, compile it, and check that it came out."""
    setenv("KOLM_HOME", str(home))
    options = ("--base", base, "--train-rows", "64", "--eval-rows", "24")
    assert kolm("init", "--demo", "digits", folder, *options).exit_code == 0
    edit(folder / "spec.yaml", **QUICK)
    made = Compiled(home, folder, folder.parent / "out")
    result = kolm("compile", made.spec, "--out", made.out)
    assert result.exit_code == 4, result.stderr  # 24 rows are too few for a verdict
    return made


@pytest.fixture(scope="session")
def session_env():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@dataclass(frozen=True)
class Demo:
    """What `make demo` left, and what it printed."""

    root: Path
    """The folder that holds `demo/`."""
    output: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The whole demo, run once as `make demo` runs it, in a folder of its own."""
    root = tmp_path_factory.mktemp("clone")
    given = {"BIN": str(Path(sys.executable).parent), "DEMO": "demo", "PORT": "0"}
    done = subprocess.run(
        ["sh", str(ROOT / "specs/demo.sh")],
        check=False, capture_output=True, text=True, cwd=root, timeout=280, env={**os.environ, **given},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(root, done.stdout)


@pytest.fixture(scope="session")
def compiled_qwen(tmp_path_factory: pytest.TempPathFactory, session_env: pytest.MonkeyPatch) -> Compiled:
    root = tmp_path_factory.mktemp("qwen") / "demo-files"
    return compile_demo(root / "digits", root / "home", base="qwen2_5_vl-tiny", setenv=session_env.setenv)


@pytest.fixture(scope="session")
def compiled_llava(tmp_path_factory: pytest.TempPathFactory, session_env: pytest.MonkeyPatch) -> Compiled:
    root = tmp_path_factory.mktemp("llava")
    return compile_demo(root / "digits", root / "home", base="llava-tiny", setenv=session_env.setenv)


@pytest.fixture
def qwen(compiled_qwen: Compiled, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    monkeypatch.setenv("KOLM_HOME", str(compiled_qwen.home))
    return compiled_qwen


@pytest.fixture
def llava(compiled_llava: Compiled, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    monkeypatch.setenv("KOLM_HOME", str(compiled_llava.home))
    return compiled_llava

"""The house keeps its promises: light start-up, drawn layers, no torch where an auditor works."""

import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.digits import BASES

ROOT = Path(__file__).resolve().parents[1]
KOLM = [sys.executable, "-m", "kolm"]


def cpu_seconds(command: list[str]) -> float:
    """Return the CPU time that a command took: wall time says more about the neighbours."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["lint-imports"]],
    ids=lambda command: " ".join(command),
)
def test_the_code_keeps_its_own_rules(command: list[str]):
    """What `make lint` runs."""
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:]], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_is_there_at_once():
    assert min(cpu_seconds([*KOLM, "--help"]) for _ in range(7)) <= 0.25


@pytest.mark.parametrize(
    "module",
    [
        "kolm",
        "kolm.cli",
        "kolm.verify",
        "kolm.pipeline",
        "registry",
        "registry.client",
        "apps.trainer.vlm",
        "apps.eval.run",
        "apps.eval.replay",
    ],
)
def test_importing_loads_no_torch(module: str):
    heavy = ("torch", "transformers", "peft", "accelerate", "safetensors")
    code = f"import sys, {module}; sys.exit(','.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_module_of_kolm_has_its_place_in_the_layers():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {name.strip() for row in contracts[0]["layers"] for name in row.split("|")}
    modules = {f"kolm.{path.stem}" for path in (ROOT / "kolm").iterdir() if not path.name.startswith("_")}
    assert modules <= named
    assert {name for name in named if name.startswith("kolm.")} <= modules


def test_every_requirement_is_pinned():
    pins = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    names = {"".join(c for c in row.split(">")[0].split("[")[0] if c not in "= ").lower() for row in wanted}
    assert names - {"kolm"} <= pins


def test_ci_runs_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci/run").read_text().splitlines()
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("base", ["qwen2_5_vl-tiny", "llava-tiny"])
def test_the_shipped_bases_are_small(base: str):
    assert sum(path.stat().st_size for path in (BASES / base).iterdir()) < 5_000_000


BLOCKER = """
import importlib.abc, sys

class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "peft", "accelerate", "safetensors"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, NoTorch())
from kolm.__main__ import main
sys.argv[0] = "kolm"
main()
"""


def test_verify_works_where_torch_is_not_and_opens_no_socket(tmp_path: Path, kolm_home: Path):
    from kolm.trust import trust_key
    from tests.bundles import make_bundle

    bundle = make_bundle(tmp_path)
    trust_key(kolm_home / "trust", bundle.key.public)
    sealed = "import socket\ndef refuse(*a, **k): raise OSError('no network here')\nsocket.socket = refuse\n"
    files = [bundle.artifact_path, "--receipt", bundle.receipt_path]
    result = subprocess.run(
        [sys.executable, "-c", sealed + BLOCKER, "verify", *files],
        check=False, capture_output=True, text=True, env={**os.environ, "KOLM_HOME": str(kolm_home)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "VERIFIED" in result.stdout

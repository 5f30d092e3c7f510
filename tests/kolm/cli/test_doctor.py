"""`kolm doctor`: what it looks at, and when it says that something is missing."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kolm.cli import app
from kolm.cli import doctor as doctor_module


def findings(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(app, ["doctor", *arguments, "--json"])
    return result.exit_code, {row["name"]: row for row in json.loads(result.stdout)["findings"]}


def test_everything_kolm_needs_is_here():
    code, found = findings()
    assert code == 0
    assert {"python", "torch", "numpy", "KOLM_HOME", "disk", "signing keys", "hub"} <= found.keys()
    assert all(row["state"] != "problem" for row in found.values())
    assert found["image backend"]["found"] in ("pil", "torchvision")


def test_lines_fit_a_terminal_and_have_a_state():
    result = CliRunner().invoke(app, ["doctor"])
    lines = result.stdout.splitlines()
    assert all(len(line) <= 110 for line in lines)
    assert {line.split()[0] for line in lines if not line.startswith(" ")} <= {"ok", "note", "problem"}


def test_a_home_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KOLM_HOME", str(tmp_path / "file" / "home"))
    code, found = findings()
    assert code == 5
    assert found["KOLM_HOME"]["state"] == "problem"
    assert "KOLM_HOME" in found["KOLM_HOME"]["hint"]


def test_a_key_is_named_and_its_public_half_is_not(kolm_home: Path):
    (kolm_home / "keys").mkdir(parents=True)
    for name in ("release.pem", "release.pub.pem"):
        (kolm_home / "keys" / name).write_text("")
    assert findings()[1]["signing keys"]["found"] == "1: release"


def test_offline_mode_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert findings()[1]["hub"]["found"] == "offline mode"


@pytest.mark.parametrize(
    ("have", "bounds", "within"),
    [
        ("2.13.0+cpu", ">=2.13,<2.14", True),
        ("2.14.0", "<2.14,>=2.13", False),
        ("2.9", ">=2.13", False),
        ("0.3.1.post4", ">=0.3.1.post4", True),
        ("15.0.0", ">=14", True),
    ],
)
def test_bounds_are_compared_as_numbers(have: str, bounds: str, within: bool):
    assert doctor_module._within(have, bounds) is within


@pytest.mark.parametrize(("extra", "state"), [(None, "problem"), ("qlora", "note")])
def test_a_missing_package_matters_as_much_as_who_needs_it(extra: str | None, state: str):
    finding = doctor_module._package("no-such-package", ">=1", extra=extra)
    assert finding.state == state
    assert finding.hint.startswith("pip install")

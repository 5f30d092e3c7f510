"""The README is true: its commands run, their output looks as printed, its tree is the tree."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Demo

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def session() -> list[tuple[str, list[str]]]:
    """Return the typed commands, with the output printed below each."""
    typed: list[tuple[str, list[str]]] = []
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ ") and not (typed and typed[-1][0].startswith("make")):
                typed.append((line[2:], []))
            elif typed:
                typed[-1][1].append(line)
        typed.append(("", []))
    return [entry for entry in typed if entry[0]]


def shape(line: str) -> str:
    """Replace what differs between two runs: identifiers, numbers, verdicts, paths of a test."""
    line = re.sub(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44}", "+KEY", line)
    line = re.sub(r"bafk[a-z2-7]{55}|\b[0-9a-f]{12,64}\b", "ID", line)
    line = re.sub(r"\b(PASS|FAIL|INCONCLUSIVE)\b", "VERDICT", line)
    return re.sub(r"\d+([.,]\d+)*", "N", line).strip()


def differing(shown: list[str], printed: str) -> list[str]:
    """Return the lines of the README that the output does not have, but for what differs between runs."""
    shapes = {shape(line) for line in printed.splitlines()}
    return [line for line in shown if line.strip() and shape(line) not in shapes]


def test_every_command_runs_and_prints_what_the_readme_shows(demo: Demo):
    typed = [(command, output) for command, output in session() if not command.startswith("make")]
    assert len(typed) > 10
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command, output in typed:
        done = subprocess.run(
            ["bash", "-c", command], check=False, capture_output=True, text=True, cwd=demo.root, timeout=120,
            env={**os.environ, "PATH": path, "KOLM_HOME": "demo/home"},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert not differing(output, done.stdout), f"{command}\n{done.stdout}"


def test_the_demo_prints_what_the_readme_shows(demo: Demo):
    shown = next(output for command, output in session() if command == "make demo")
    assert len(shown) > 40
    assert not differing(shown, demo.output)


def test_the_make_targets_exist_and_run_what_the_readme_says():
    targets = [command.split()[1] for command, _ in session() if command.startswith("make ")]
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "-n", target], check=True, capture_output=True, cwd=ROOT)


def test_the_example_in_python_runs(demo: Demo, monkeypatch: pytest.MonkeyPatch):
    (code,) = blocks("python")
    names: dict[str, object] = {}
    (demo.root / "specs").mkdir()
    (demo.root / "specs/bases").symlink_to(ROOT / "specs/bases")
    monkeypatch.chdir(demo.root)
    exec(code, names)  # noqa: S102 - the README's own example
    assert names["result"].metrics["steps"] == 1


def test_the_tree_names_every_module_with_its_first_sentence():
    tree = dict(
        re.match(r"(\S+)\s+(.*)", line).groups()
        for block in blocks("text")
        for line in block.splitlines()
        if re.match(r"(kolm|apps|registry)/", line)
    )
    modules = {path for top in ("kolm", "apps", "registry") for path in (ROOT / top).rglob("*.py")}
    assert tree == {str(path.relative_to(ROOT)): first_sentence(path) for path in modules - data_files()}


def data_files() -> set[Path]:
    """Return the files of single families; the table of families names those."""
    folder = ROOT / "apps" / "trainer" / "families"
    return {path for path in folder.glob("*.py") if "\nFAMILY = " in path.read_text(encoding="utf-8")}


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

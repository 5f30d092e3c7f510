"""The README is true: its commands run, their output looks as printed, its tree is the tree."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Compiled

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
    line = re.sub(r"bafk[a-z2-7]{55}|\b[0-9a-f]{12,64}\b", "ID", line)
    line = re.sub(r"\b(PASS|FAIL|INCONCLUSIVE)\b", "VERDICT", line)
    return re.sub(r"\d+([.,]\d+)*", "N", line).strip()


@pytest.fixture
def demo(qwen: Compiled, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `make demo` leaves, from the short compile: digits, home and out under demo/."""
    root = qwen.folder.parent
    (root.parent / "demo").unlink(missing_ok=True)
    (root.parent / "demo").symlink_to(root)
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return root


def test_every_command_runs_and_prints_what_the_readme_shows(demo: Path):
    shown = [(command, output) for command, output in session() if not command.startswith("make")]
    assert len(shown) > 10
    for command, output in shown:
        if command.startswith("export"):
            os.environ.update(KOLM_HOME="demo/home")
            continue
        done = subprocess.run(
            ["bash", "-c", command], check=False, capture_output=True, text=True, cwd=demo.parent, timeout=120
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed = {shape(line) for line in done.stdout.splitlines()}
        missing = [line for line in output if line.strip() and shape(line) not in printed]
        assert not missing, f"{command}\nREADME shows {missing}\nprinted:\n{done.stdout}"


def test_the_make_targets_exist_and_run_what_the_readme_says():
    targets = [command.split()[1] for command, _ in session() if command.startswith("make ")]
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "-n", target], check=True, capture_output=True, cwd=ROOT)
    typed = [line[2:] for line in README.splitlines() if line.startswith("$ kolm")]
    script = (ROOT / "specs/demo.sh").read_text()
    demo_output = next(output for command, output in session() if command == "make demo")
    steps = [line.split()[2] for line in demo_output if line.startswith("$ kolm ")]
    assert steps == re.findall(r"^step kolm (\w+)", script, re.MULTILINE)
    assert typed


def test_the_example_in_python_is_the_designs(demo: Path, monkeypatch: pytest.MonkeyPatch):
    (code,) = blocks("python")
    image = next((demo / "digits/train/images").iterdir())
    code = re.sub(r"demo/digits/train/images/\d+\.png", str(image), code)
    names: dict[str, object] = {}
    monkeypatch.chdir(ROOT)
    exec(code, names)  # noqa: S102 - the README's own example
    assert names["result"].metrics["steps"] == 1


def test_the_tree_names_every_module_with_its_first_sentence():
    tree = dict(
        re.match(r"(\S+)\s+(.*)", line).groups()
        for block in blocks("text")
        for line in block.splitlines()
        if re.match(r"(kolm|apps|registry)/", line)
    )
    modules = [path for top in ("kolm", "apps", "registry") for path in sorted((ROOT / top).rglob("*.py"))]
    assert tree == {str(path.relative_to(ROOT)): first_sentence(path) for path in modules}


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

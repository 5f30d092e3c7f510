"""A verifier with one refusal fewer, for each of them: a plugin for pytest.

    pytest -p tests.refusals tests/tampering tests/kolm/test_verify.py

A refusal is a statement of kolm/verify that is there only to raise: a bare call, or `raise` itself. Every
module is loaded with all of them switchable (mutant schemata, Untch et al. 1993). One process runs the tests
and records which of them come by which refusal; then, for each, a process of its own leaves it out and runs
these tests, the fast ones first, until one fails. Nothing else is run.
"""

import ast
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "kolm.verify"
SWITCH = "__refuses__"


class Switch:
    """Says of each refusal whether it is in, and remembers which were asked for."""

    def __init__(self) -> None:
        self.left_out = ""
        self.asked: set[str] = set()

    def __call__(self, refusal: str) -> bool:
        self.asked.add(refusal)
        return refusal != self.left_out


switch = Switch()


class Switchable(ast.NodeTransformer):
    """Puts every refusal of a module behind the switch."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[str] = []

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        call = node.value
        return self._behind(node) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else node

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        return self._behind(node)

    def _behind(self, node: ast.stmt) -> ast.stmt:
        words = " ".join(ast.unparse(node).split())[:90]
        again = sum(name.startswith(f"{self.path}: {words}") for name in self.found)
        name = f"{self.path}: {words}" + f" ({again + 1})" * bool(again)
        self.found.append(name)
        test = ast.Call(ast.Name(SWITCH, ast.Load()), [ast.Constant(name)], [])
        return ast.fix_missing_locations(ast.copy_location(ast.If(test, [node], []), node))


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the package with its refusals behind the switch."""

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:
        relative = Path(path).relative_to(ROOT).as_posix()
        return compile(Switchable(relative).visit(ast.parse(data)), path, "exec", optimize=_optimize)

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, SWITCH, switch)
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the package's modules for `Loader`."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name != PACKAGE and not name.startswith(f"{PACKAGE}."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = Loader(name, spec.origin)
        return spec


sys.meta_path.insert(0, Finder())
failed: list[str] = []


def refusals() -> list[str]:
    """Return every refusal of the package by its file and first words, in order."""
    found = []
    for path in sorted((ROOT / PACKAGE.replace(".", "/")).glob("*.py")):
        module = Switchable(path.relative_to(ROOT).as_posix())
        module.visit(ast.parse(path.read_text(encoding="utf-8")))
        found += module.found
    return found


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the tests that fail: all of them pass with every refusal in place."""
    if report.failed:
        failed.append(report.nodeid)


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Record once, then leave out one refusal after the other, on as many processes as there are cores.

    The file KOLM_REFUSALS gets a line of JSON for each: its name, and the test that noticed.
    """
    passed_by, broken = _answer(_child(lambda: _recorded(session.items)))
    with Path(os.environ["KOLM_REFUSALS"]).open("w", encoding="utf-8", buffering=1) as out:
        out.writelines(json.dumps(["", nodeid]) + "\n" for nodeid in broken)
        out.writelines(json.dumps([name, ""]) + "\n" for name in refusals() if name not in passed_by)
        waiting, running = sorted(passed_by), {}
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                name = waiting.pop()
                items = [session.items[at] for at in passed_by[name]]
                running[name] = _child(lambda name=name, items=items: _noticed(name, items))
            name = next(iter(running))
            out.write(json.dumps([name, _answer(running.pop(name))]) + "\n")
    return True


def _recorded(items: list[pytest.Item]) -> tuple[dict[str, list[int]], list[str]]:
    """Run all tests; return for each refusal the tests that came by it, fast ones first, and what failed."""
    came_by, took = defaultdict(list), {}
    for at in _run(items):
        for name in switch.asked:
            came_by[name].append(at)
        switch.asked.clear()
        took[at] = time.perf_counter()
    began = [took.get(at - 1, took[0]) for at in took]
    lasted = {at: end - start for (at, end), start in zip(took.items(), began, strict=True)}
    return {name: sorted(found, key=lasted.__getitem__) for name, found in came_by.items()}, failed


def _noticed(name: str, items: list[pytest.Item]) -> str:
    """Run tests without a refusal until one fails; return it."""
    switch.left_out = name
    return next((failed[0] for _ in _run(items) if failed), "")


def _run(items: list[pytest.Item]) -> Iterator[int]:
    """Run tests one by one, yielding the place of each."""
    for at, item in enumerate(items):
        following = items[at + 1] if at + 1 < len(items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield at


def _child(work: Any) -> tuple[int, int]:
    """Do something in a process of its own; return that process and where its answer comes from."""
    answers, ours = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ours)
        return pid, answers
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        with os.fdopen(ours, "w", encoding="utf-8") as out:
            json.dump(work(), out)
    finally:
        os._exit(0)


def _answer(child: tuple[int, int]) -> Any:
    pid, answers = child
    with os.fdopen(answers, encoding="utf-8") as source:
        text = source.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else ""

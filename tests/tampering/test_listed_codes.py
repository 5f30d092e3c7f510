"""What the tests here expect of a check is what the page's list of checks says of it."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from kolm.verify import CHECKS
from tests.tampering.lies import ROWS, is_listed

HERE = Path(__file__).resolve().parent


def expected(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every number of a check and code that stand side by side in a test."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in getattr(node, "elts", [])]
        for number, code in pairwise(parts):
            if number in ROWS and isinstance(code, str) and code.startswith("E_"):
                yield number, code


def test_every_expected_code_is_in_the_row_of_its_check() -> None:
    asserted = {pair for path in HERE.glob("test_*.py") for pair in expected(path)}
    assert len(asserted) > 50
    assert sorted(pair for pair in asserted if not is_listed(*pair)) == []


def test_every_check_has_a_row_with_codes() -> None:
    assert [number for number, codes in ROWS.items() if codes] == [step.number for step in CHECKS]

"""The page of attacks and the tests of attacks are about the same attacks, and name the same codes."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FORMATS = HERE.parents[1] / "specs" / "formats"
PAGE = FORMATS / "attacks.md"
ROW = re.compile(r"^\| (\d+) \|.*\| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"^def test_attack_(\d\d)_(.*?)(?:\n\n\n|\Z)", re.MULTILINE | re.DOTALL)

ROWS = {int(number): answer for number, answer in ROW.findall(PAGE.read_text(encoding="utf-8"))}
"""Number of an attack -> what answers it."""

TESTS: dict[int, str] = {}
"""Number of an attack -> the text of its tests."""
for _path in sorted(HERE.glob("test_*.py")):
    for _number, _text in TEST.findall(_path.read_text(encoding="utf-8")):
        TESTS[int(_number)] = TESTS.get(int(_number), "") + _text


def test_every_attack_has_a_row_and_a_test() -> None:
    assert set(ROWS) == set(TESTS) == set(range(1, 76)) - {61, 64}


@pytest.mark.parametrize("number", ROWS)
def test_a_row_has_the_codes_of_its_tests(number: int) -> None:
    named = re.findall(r"`(E_[A-Z0-9_]+\*?)`", ROWS[number])
    for code in re.findall(r'"(E_[A-Z0-9_]*[A-Z0-9])"', TESTS[number]):
        assert any(fnmatch(code, name) for name in named), code


@pytest.mark.parametrize("number", ROWS)
def test_every_code_of_a_row_is_in_the_closed_list_of_another_page(number: int) -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in FORMATS.glob("*.md") if path != PAGE)
    for code in re.findall(r"`(E_[A-Z0-9_]+)`", ROWS[number]):
        assert f"`{code}`" in known, code

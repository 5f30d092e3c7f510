"""How far an evaluation is, told without a terminal."""

import pytest

from kolm.cli.bars import Bars


def test_without_a_terminal_every_tenth_part_is_a_line(capsys: pytest.CaptureFixture[str]):
    with Bars() as bars:
        for done in range(1, 501):
            bars.asking("base", done, 500)
        bars.asking("tuned", 3, 3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "eval     base: 50 of 500 answers"
    assert len(lines) == 11
    assert lines[-2:] == ["eval     base: 500 of 500 answers", "eval     tuned: 3 of 3 answers"]

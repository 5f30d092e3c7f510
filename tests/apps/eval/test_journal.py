"""Answers kept on disk: whole lines come back, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.eval.journal import Journal, digest_of_question
from kolm.answers import Answer, Question
from kolm.cid import cid_of, sha256_hex
from kolm.errors import StorageError
from kolm.files import home
from kolm.rows import ImagePart, TextPart, Turn
from tests.pictures import two_tone

ANSWER = Answer("seven\nor\x1b[31m 8", tokens=3, finish="stop", prompt_tokens=20, image_tokens=9, patches=36)
FIRST, SECOND = sha256_hex(b"first"), sha256_hex(b"second")
LINES = [(FIRST, ANSWER), (SECOND, replace(ANSWER, text="", finish="length"))]


@pytest.fixture
def journal() -> Journal:
    journal = Journal.about({"model": "base"})
    for question, answer in LINES:
        journal.add(question, answer)
    return journal


def file_of() -> Path:
    (path,) = (home() / "evals").iterdir()
    return path


def test_what_was_added_is_read(journal: Journal):
    assert journal.read() == dict(LINES)
    assert Journal.about({"model": "base"}).read() == dict(LINES)
    assert Journal.about({"model": "tuned"}).read() == {}


def test_a_removed_journal_is_empty(journal: Journal):
    journal.remove()
    journal.remove()
    assert journal.read() == {}


def test_a_torn_last_line_is_ignored_and_does_not_spoil_the_next(journal: Journal):
    path = file_of()
    path.write_bytes(path.read_bytes()[:-20])
    assert journal.read() == dict(LINES[:1])
    journal.add(*LINES[1])
    assert journal.read() == dict(LINES)


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"question": 1, "answer": {}, "check": ""}',
     b'{"answer":{"text":"\\ud800"},"check":"","question":"x"}'],
    ids=["empty", "no members", "a list", "null", "not UTF-8", "nested", "wrong members", "half a surrogate"],
)  # fmt: skip
def test_a_line_that_is_no_answer_is_ignored(line: bytes, journal: Journal):
    path = file_of()
    path.write_bytes(path.read_bytes() + b"\n" + line + b"\n")
    assert journal.read() == dict(LINES)


@given(st.data())
def test_no_changed_byte_gives_another_answer(data: st.DataObject):
    journal = Journal.about({"model": "changed"})
    journal.remove()
    for question, answer in LINES:
        journal.add(question, answer)
    path = next((home() / "evals").glob("*"))
    held = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(held) - 1))
    held[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(held)
    assert journal.read().items() <= dict(LINES).items()


def test_a_journal_that_cannot_be_written_says_so(journal: Journal):
    path = file_of()
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError):
        journal.add(*LINES[0])
    with pytest.raises(StorageError):
        journal.read()


PLACE = ImagePart(cid_of(b"a picture"))
RED, BLUE = two_tone(8, 8, "red"), two_tone(8, 8, "blue")


def question(*parts: ImagePart | TextPart, images: tuple = (RED,)) -> Question:
    return Question((Turn("user", parts),), images)


def test_a_question_is_known_by_what_is_shown_alone():
    asked = question(PLACE, TextPart("Which?"))
    digest = digest_of_question(asked)
    assert digest == digest_of_question(
        question(ImagePart(cid_of(b"")), TextPart("Which?"), images=(RED.copy(),))
    )
    others = [
        question(PLACE, TextPart("Which? ")),
        question(TextPart("Which?"), PLACE),
        question(PLACE, TextPart("Which?"), images=(BLUE,)),
        question(PLACE, TextPart("Which?"), images=(two_tone(8, 9, "red"),)),
        question(TextPart("Which?"), images=()),
        replace(asked, turns=(Turn("system", (TextPart("Which?"),)), *asked.turns)),
    ]
    assert len({digest, *map(digest_of_question, others)}) == len(others) + 1

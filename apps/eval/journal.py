"""Answers on disk as they are given, so that an evaluation that was killed does not ask again what it knows.

One file for each model, `$KOLM_HOME/evals/<digest>.jsonl`, named by everything that its answers depend on. A
line holds an answer, the digest of its question and a digest of both: one that is torn or was changed is no
answer. What stands here is never evidence; timed answers are not taken from here.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kolm.answers import Answer, Question
from kolm.canonical import canonical_json
from kolm.cid import sha256_hex
from kolm.errors import ArtifactError
from kolm.files import home, make_folder, refusal
from kolm.images import pixel_digest
from kolm.rows import TextPart


class Journal:
    """The answers of one model to what it was asked so far, by the digests of the questions."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def about(cls, facts: Mapping[str, Any]) -> "Journal":
        """Name the journal of a model by all that its answers depend on. Raises StorageError."""
        return cls(make_folder(home() / "evals") / f"{sha256_hex(canonical_json(facts))}.jsonl")

    def read(self) -> dict[str, Answer]:
        """Return what was answered, without lines that are not whole. Raises StorageError."""
        try:
            lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
        except OSError as err:
            raise refusal(err, action="read", path=self._path) from err
        return dict(found for line in lines if (found := _parsed(line)))

    def add(self, question: str, answer: Answer) -> None:
        """Note one answer. Raises StorageError."""
        try:
            with self._path.open("ab") as file:
                file.write(b"\n" + _line(question, answer))  # before it may stand half a line
        except OSError as err:
            raise refusal(err, action="write", path=self._path) from err

    def remove(self) -> None:
        """Forget the answers. Raises StorageError."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as err:
            raise refusal(err, action="remove", path=self._path) from err


def digest_of_question(question: Question) -> str:
    """Return the hex SHA-256 of what a model is shown: roles, texts, places and pixels of its pictures."""
    pixels = (pixel_digest(picture) for picture in question.images)
    turns = [
        [turn.role, *([part.text] if isinstance(part, TextPart) else next(pixels) for part in turn.content)]
        for turn in question.turns
    ]
    return sha256_hex(canonical_json(turns))


def _line(question: str, answer: Answer) -> bytes:
    said = {"question": question, "answer": asdict(answer)}
    return canonical_json(said | {"check": sha256_hex(canonical_json(said))})


def _parsed(line: bytes) -> tuple[str, Answer] | None:
    """Read one line; None unless it is, byte for byte, what was written."""
    try:
        value = json.loads(line)
        question, answer = value["question"], Answer(**value["answer"])
        return (question, answer) if _line(question, answer) == line else None
    except (ArtifactError, ValueError, TypeError, KeyError, RecursionError):
        return None

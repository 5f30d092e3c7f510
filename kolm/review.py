"""What people said about near duplicates: the list that a spec names as `data.reviewed`.

One JSON object per line, the two pictures named by the SHA-256 of their bytes, so that a verdict stays with
the pictures when rows are renamed (specs/formats/leaks.md 4).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from kolm.canonical import canonical_lines
from kolm.errors import DataError
from kolm.files import read_bytes, write_atomic
from kolm.pairs import json_records

Verdict = Literal["distinct", "duplicate", "unreviewed"]
VERDICTS: tuple[str, ...] = get_args(Verdict)

LONGEST_NOTE = 1000
"""Characters of `by` and of `note`."""

_REQUIRED = ("train", "eval", "verdict", "by")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class Pair(NamedTuple):
    """A picture that is trained on and one that is evaluated on, by the hex SHA-256 of their bytes."""

    train: str
    eval: str


@dataclass(frozen=True)
class Review:
    """Verdicts on pairs of pictures; a pair that nobody judged is not in it, or `unreviewed`."""

    verdicts: Mapping[Pair, Verdict]

    def unused(self, pairs: Iterable[Pair]) -> int:
        """Count the entries about pairs that are not among these."""
        return len(self.verdicts.keys() - set(pairs))


NOTHING_REVIEWED = Review({})


def read_review(path: Path) -> Review:
    """Read a reviewed list. Raises DataError naming file, line and reason of the first line that is wrong."""
    verdicts: dict[Pair, Verdict] = {}
    lines: dict[Pair, int] = {}
    for number, record in json_records(path):
        reason = record.message if isinstance(record, DataError) else _fault(record)
        if reason or isinstance(record, DataError):
            raise _refused(path, number, str(reason))
        pair = Pair(record["train"], record["eval"])
        if pair in lines:
            raise _refused(path, number, f"line {lines[pair]} is about the same two pictures")
        verdicts[pair], lines[pair] = record["verdict"], number
    return Review(verdicts)


def review_lines(pairs: Iterable[tuple[Pair, str]]) -> bytes:
    """Write a list to be reviewed: every pair `unreviewed`, with a note that says what was found."""
    return canonical_lines(
        {**pair._asdict(), "verdict": "unreviewed", "by": "", "note": note[:LONGEST_NOTE]}
        for pair, note in pairs
    )


def extend_review(path: Path, pairs: Iterable[tuple[Pair, str]]) -> int:
    """Write pairs that wait to a list, after the lines it has; return how many it did not name before.

    What a person wrote stays byte for byte. Raises DataError, StorageError.
    """
    kept = read_bytes(path, what="reviewed list") if path.exists() else b""
    judged = read_review(path).verdicts if kept else {}
    added = [(pair, note) for pair, note in pairs if pair not in judged]
    between = b"" if not kept or kept.endswith(b"\n") else b"\n"
    write_atomic(path, kept + between + review_lines(added))
    return len(added)


def _fault(record: Mapping[str, Any]) -> str:
    """Say what is wrong with a line, if anything."""
    unknown = [name for name in record if name not in (*_REQUIRED, "note")]
    missing = [name for name in _REQUIRED if name not in record]
    texts = [name for name in (*_REQUIRED, "note") if not isinstance(record.get(name, ""), str)]
    if unknown:
        return f"unknown member {unknown[0][:80]!r}, known are {', '.join(_REQUIRED)}, note"
    if missing:
        return f"no `{missing[0]}`"
    if texts:
        return f"`{texts[0]}` is not a text"
    if long := next((name for name in ("by", "note") if len(record.get(name, "")) > LONGEST_NOTE), None):
        return f"`{long}` is longer than {LONGEST_NOTE} characters"
    return _doubt(record)


def _doubt(record: Mapping[str, Any]) -> str:
    """Say which member of a line of texts does not mean anything."""
    for name in ("train", "eval"):
        if not _DIGEST.match(record[name]):
            return f"`{name}` is not the SHA-256 of a picture: 64 digits 0-9 a-f"
    if record["verdict"] not in VERDICTS:
        return f"verdict {record['verdict'][:40]!r} is none of {', '.join(VERDICTS)}"
    if record["verdict"] != "unreviewed" and not record["by"].strip():
        return "`by` does not say who looked at the pictures"
    return ""


def _refused(path: Path, number: int, reason: str) -> DataError:
    return DataError(
        f"{path}:{number}: {reason}",
        hint="specs/formats/leaks.md 4 shows a line; kolm leaks --out writes them",
    )

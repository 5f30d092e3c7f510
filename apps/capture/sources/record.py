"""What a reader of a published data set yields: records, and the folder their pictures are looked up in."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from kolm.errors import DataError
from kolm.rows import refused

_EMBEDDED = re.compile(r"(data:|[A-Za-z][A-Za-z0-9+.-]*://)")

Shape = Literal["list", "object", "lines", "table"]
"""A JSON array of records, a JSON object that holds them, JSON Lines, or Parquet."""


@dataclass(frozen=True)
class Sight:
    """What can be told about a file from its top and its first record."""

    shape: Shape
    top: frozenset[str]
    """Members of the JSON object, if the file is one."""
    columns: frozenset[str]
    """Members of the first record."""


@dataclass(frozen=True)
class Record:
    """One record of a data set, in the words of specs/formats/row.md 5."""

    messages: tuple[Mapping[str, Any], ...]
    """Turns; a picture is a part `{type: image, image}` with a path, bytes or a data URL."""
    answers: tuple[str, ...]
    """Every answer that counts as right; the first one is learned."""
    id: str | None = None
    group: str | None = None
    slice: str = "all"

    def pair(self) -> dict[str, Any]:
        """Return the record as a row of a file of pairs (specs/formats/row.md 5)."""
        about = {"id": self.id, "group": self.group}
        return {"messages": list(self.messages), **{k: v for k, v in about.items() if v is not None}}


Found = tuple[int, Record | DataError]
"""A record with its number in the file, from 1, or the reason why it is none."""


@dataclass(frozen=True)
class Source:
    """A published shape of data: how it is recognised and read, and how its slices are scored."""

    name: str
    title: str
    metrics: Mapping[str, str]
    """Metric id of each slice that a record can be in."""
    recognises: Callable[[Sight], bool]
    records: Callable[[Path, "Pictures", str], Iterator[Found]]
    """Read a file or folder, with pictures from a folder; the text is asked where the source asks nothing."""
    prompt: str = ""
    """What is asked where the source has no question of its own."""


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a data set lie; a name that leads out of the folder is refused."""

    root: Path

    def of(self, value: Any) -> bytes | str | Path:
        """Return a picture as a gallery takes it: from Parquet's `{bytes, path}`, text or bytes.

        URLs are handed on, for the gallery to refuse. Raises DataError.
        """
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str) or not value.strip():
            raise refused("no picture")
        return value if _EMBEDDED.match(value) else self.file(value)

    def file(self, *names: str) -> Path:
        """Return the first of these files that is there. Raises DataError."""
        for name in names:
            parts = PurePosixPath(name).parts
            if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
                raise refused(f"the picture {name[:120]!r} is not a path inside the folder of the pictures")
        found = next((name for name in names if self._holds(name)), None)
        if found is None:
            raise refused(f"no picture {names[0][:120]} under {self.root}; --images names their folder")
        return self.root / found

    def _holds(self, name: str) -> bool:
        try:
            return (self.root / name).is_file()
        except OSError:
            return False  # longer than a file name can be


def question(prompt: Any, pictures: Sequence[Any], answers: Any, **about: str | None) -> Record:
    """Make the record of one question; `about` holds id, group and slice. Raises DataError."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise refused("no question")
    if not isinstance(answers, list):
        raise refused("the answers are not a list")
    told = tuple(answer for answer in answers if isinstance(answer, str))
    if not told or len(told) != len(answers):
        raise refused("no answer" if not answers else "an answer is not text")
    parts = [*({"type": "image", "image": picture} for picture in pictures), {"type": "text", "text": prompt}]
    messages = ({"role": "user", "content": parts}, {"role": "assistant", "content": told[0]})
    given = {name: value for name, value in about.items() if value is not None}
    return Record(messages, told, **given)


def named(value: Any) -> str | None:
    """Return an id or group as text: data sets number them, or give none. Raises DataError."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise refused(f"{str(value)[:40]!r} is neither a name nor a number, and names a row or its group")
    return str(value)


def group_in(source: str, value: Any) -> str | None:
    """Name a group so that it is no other data set's: these count their documents from 1 as well."""
    return None if named(value) is None else f"{source}:{value}"


def field(record: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these members that the record has. Raises DataError naming those it has."""
    for name in names:
        if name in record:
            return record[name]
    held = ", ".join(str(name)[:40] for name in list(record)[:12])
    raise refused(f"no {' or '.join(names)}; it has {held or 'nothing'}")


def each(
    records: Iterator[tuple[int, Mapping[str, Any] | DataError]], make: Callable[[Mapping[str, Any]], Record]
) -> Iterator[Found]:
    """Make a record of each member of a file, or say why it is none."""
    for number, record in records:
        try:
            if isinstance(record, DataError):
                raise record
            yield number, make(record)
        except DataError as err:
            yield number, err

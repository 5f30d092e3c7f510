"""The capture store: rows are appended, pictures kept as they came, sets frozen under a CID.

What holds whatever is interrupted: a row that can be read has its pictures complete on the disk, and a
frozen set never changes. Writers of one namespace take turns through a lock file.
"""

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from kolm.canonical import canonical_json, canonical_lines, parse_canonical
from kolm.captures import Captures, Pin, frozen_bytes
from kolm.cid import CID, cid_of, cid_of_file
from kolm.commitments import Salts
from kolm.dataset import split_by_group
from kolm.errors import ArtifactError, DataError
from kolm.files import locked, make_folder, read_bytes, refusal, write_atomic
from kolm.gallery import Gallery
from kolm.pairs import Pairs, Refusal, default_id
from kolm.rows import Example, messages_json

_NUMBERED = re.compile(r"row-[0-9]{6,}\Z")


@dataclass(frozen=True)
class Added:
    """What became of one row: its id in the namespace, and whether it was there already."""

    id: str
    known: bool


@dataclass(frozen=True)
class Import:
    """What became of the rows of a file."""

    added: tuple[Added, ...]
    refusals: tuple[Refusal, ...]
    repaired: int = 0
    """Bytes of an interrupted append that were cut off first."""

    @property
    def new(self) -> int:
        """Number of rows that were not there before."""
        return sum(not row.known for row in self.added)


@dataclass(frozen=True)
class Contents:
    """The rows of a namespace in the order they came."""

    examples: tuple[Example, ...]
    half: int = 0
    """Bytes of an interrupted append behind the last complete row; they are not a row."""


@dataclass(frozen=True)
class Frozen:
    """A set that was frozen: its pin and its rows."""

    pin: Pin
    examples: tuple[Example, ...]


class CaptureStore:
    """Rows and pictures under one folder."""

    def __init__(self, captures: Captures) -> None:
        self._captures = captures

    def add(self, namespace: str, pairs: Pairs) -> Import:
        """Append the rows of `pairs`, pictures first; rows already there are reported as known.

        Rows called by their number are numbered anew. Raises DataError for the namespace, StorageError.
        """
        with self._locked(namespace):
            contents = self._read(namespace)
            self._repair(namespace, contents)
            intake = _Intake(contents.examples, list(pairs.refusals))
            for example, number in zip(pairs.examples, pairs.numbers, strict=True):
                intake.take(example, number)
            for cid in dict.fromkeys(cid for example in intake.new for cid in example.images):
                self._keep_picture(cid, pairs.gallery)
            if intake.new:
                self._append(namespace, intake.new)
        refusals = tuple(sorted(intake.refusals, key=lambda refused: refused.row))
        return Import(tuple(intake.added), refusals, contents.half)

    def namespaces(self) -> list[str]:
        """Return the names of the namespaces that hold rows, sorted."""
        return sorted(path.parent.name for path in self._captures.root.glob("*/rows.jsonl"))

    def contents(self, namespace: str) -> Contents:
        """Return the rows of a namespace. Raises DataError when it does not exist."""
        if not self._captures.rows(namespace).is_file():
            known = ", ".join(self.namespaces()) or "none yet"
            raise DataError(f"there is no namespace {namespace!r}", hint=f"namespaces: {known}")
        with self._locked(namespace):
            return self._read(namespace)

    def gallery(self, examples: Sequence[Example]) -> Gallery:
        """Return the pictures of rows of this store. Raises DataError when one is missing."""
        gallery = Gallery(root=self._captures.root)
        for cid in dict.fromkeys(cid for example in examples for cid in example.images):
            gallery.add_captured(cid, captures=self._captures)
        return gallery

    def split(
        self, namespace: str, *, validation: float | None = None, held_out: float | None = None
    ) -> dict[str, Frozen]:
        """Freeze a namespace as sets `train` and, where asked for, `validation` and `eval`.

        Sides are taken by a salted hash of the group, so rows that come later move none of these.
        Raises DataError when a set would be empty or a picture is missing.
        """
        examples = self.contents(namespace).examples
        salt = Salts.load_or_create(self._captures.salts(namespace)).salt
        sets: dict[str, tuple[Example, ...]] = {}
        for label, fraction in (("eval", held_out), ("validation", validation)):
            if fraction is not None:
                examples, sets[label] = split_by_group(examples, fraction=fraction, salt=salt, label=label)
        sets["train"] = examples
        for label, rows in sets.items():
            if not rows:
                raise DataError(
                    f"the {label} set of {namespace} would be empty",
                    hint="add rows, or choose another fraction",
                )
        self.gallery([example for rows in sets.values() for example in rows])
        return {label: self._freeze(namespace, sets[label]) for label in sorted(sets, key=_SET_ORDER.index)}

    def _freeze(self, namespace: str, examples: tuple[Example, ...]) -> Frozen:
        data = frozen_bytes(namespace, examples)
        pin = Pin(namespace, cid_of(data))
        path = self._captures.frozen(pin.cid)
        if not path.exists():
            make_folder(path.parent)
            write_atomic(path, data)
        return Frozen(pin, examples)

    def _locked(self, namespace: str) -> AbstractContextManager[None]:
        """Hold the namespace alone, among processes as among threads."""
        return locked(make_folder(self._captures.namespace(namespace)) / ".lock")

    def _read(self, namespace: str) -> Contents:
        path = self._captures.rows(namespace)
        data = read_bytes(path, what="captured rows") if path.exists() else b""
        complete = data[: data.rfind(b"\n") + 1]
        lines = complete.splitlines()
        examples = tuple(_stored_row(line, f"{path}:{n}") for n, line in enumerate(lines, start=1))
        return Contents(examples, half=len(data) - len(complete))

    def _repair(self, namespace: str, contents: Contents) -> None:
        """Cut off what an interrupted append left behind, so that the next row begins its own line."""
        if contents.half:
            path = self._captures.rows(namespace)
            os.truncate(path, path.stat().st_size - contents.half)

    def _keep_picture(self, cid: CID, gallery: Gallery) -> None:
        path = self._captures.blob(cid)
        if not path.exists() or cid_of_file(path) != cid:
            make_folder(path.parent)
            write_atomic(path, gallery.data(cid))

    def _append(self, namespace: str, examples: Sequence[Example]) -> None:
        """Write whole lines and wait for the disk; a disk that refuses leaves no part of them."""
        path = self._captures.rows(namespace)
        if not path.exists():
            write_atomic(path, b"")
        size = path.stat().st_size
        try:
            with path.open("ab", buffering=0) as handle:
                _write_all(handle.fileno(), canonical_lines(example.to_json() for example in examples))
        except OSError as err:
            os.truncate(path, size)
            raise refusal(err, action="append to", path=path) from err


_SET_ORDER = ("train", "validation", "eval")


class _Intake:
    """Decides for each row that comes in: new, known, or refused because its id is taken."""

    def __init__(self, present: Sequence[Example], refusals: list[Refusal]) -> None:
        self._by_content = {_content(example): example.id for example in present}
        self._ids = {example.id for example in present}
        self.refusals = refusals
        self.added: list[Added] = []
        self.new: list[Example] = []

    def take(self, example: Example, number: int) -> None:
        """Take one row in, or say why not."""
        known = self._by_content.get(_content(example))
        if known is not None:
            self.added.append(Added(known, known=True))
            return
        named = self._named(example)
        if named.id in self._ids:
            self.refusals.append(Refusal(number, f"its id {named.id!r} is taken by another row"))
            return
        self._by_content[_content(named)] = named.id
        self._ids.add(named.id)
        self.new.append(named)
        self.added.append(Added(named.id, known=False))

    def _named(self, example: Example) -> Example:
        """Number a row in this namespace, unless it came with a name of its own."""
        if not _NUMBERED.match(example.id):
            return example
        number = len(self._ids) + 1
        while default_id(number) in self._ids:
            number += 1
        row_id = default_id(number)
        return replace(example, id=row_id, group=row_id if example.group == example.id else example.group)


def _content(example: Example) -> bytes:
    """What makes two rows the same pair: their conversation, pictures included."""
    return canonical_json(messages_json(example.messages))


def _stored_row(line: bytes, place: str) -> Example:
    try:
        return Example.from_json(parse_canonical(line, what=place))
    except (ArtifactError, DataError) as err:
        raise DataError(
            f"{place} is not a row: {err.message}", hint="the file was edited; restore it, or remove the line"
        ) from err


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def store_at(root: Path | None = None) -> CaptureStore:
    """Open the store of this user, or the one under `root`."""
    return CaptureStore(Captures(root) if root else Captures.at_home())

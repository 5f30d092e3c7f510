"""Where captured rows lie under the state folder, and how a frozen set is named.

    captures/<namespace>/rows.jsonl    canonical rows, one line each, only ever appended to
    captures/<namespace>/salts.json    salts of the namespace, mode 0600
    captures/blobs/<sha256 hex>        original picture bytes
    captures/sets/<CID>.json           frozen rows, canonical JSON, never changed

A frozen set is pinned as `capture://<namespace>@<CID>` (specs/formats/row.md 6).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import CID, cid_of, digest_of, parse_cid
from kolm.errors import ArtifactError, DataError, StorageError
from kolm.files import home, read_bytes
from kolm.rows import Example

KIND = "kolm-rows/1"
SCHEME = "capture://"
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_TAKEN = frozenset({"blobs", "sets"})


@dataclass(frozen=True)
class Captures:
    """Paths of the captures under one folder."""

    root: Path

    @classmethod
    def at_home(cls) -> Self:
        """Return the captures of this user, under `kolm.files.home`."""
        return cls(home() / "captures")

    def namespace(self, name: str) -> Path:
        """Return a namespace's folder. Raises DataError for a name that cannot be one."""
        if not _NAMESPACE.match(name) or name in _TAKEN:
            raise DataError(
                f"{name!r} cannot name a namespace",
                hint="use up to 64 of a-z 0-9 . _ -, beginning with a letter or digit; "
                f"{' and '.join(sorted(_TAKEN))} are taken",
            )
        return self.root / name

    def rows(self, name: str) -> Path:
        """Return the file of a namespace's rows."""
        return self.namespace(name) / "rows.jsonl"

    def salts(self, name: str) -> Path:
        """Return the file of a namespace's salts."""
        return self.namespace(name) / "salts.json"

    def blob(self, cid: CID) -> Path:
        """Return the file of a picture's original bytes."""
        return self.root / "blobs" / digest_of(cid).hex()

    def frozen(self, cid: CID) -> Path:
        """Return the file of a frozen set."""
        return self.root / "sets" / f"{cid}.json"


@dataclass(frozen=True)
class Pin:
    """A reference to a frozen set, as a spec writes it."""

    namespace: str
    cid: CID

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `capture://NS@CID`. Raises DataError."""
        name, at, cid = text.removeprefix(SCHEME).partition("@")
        if not text.startswith(SCHEME) or not at:
            raise DataError(
                f"{text!r} is not a pinned set", hint="kolm capture split NS prints the pin to use"
            )
        try:
            return cls(name, parse_cid(cid))
        except ArtifactError as err:
            raise DataError(f"{text!r} is not a pinned set: {err.message}", hint=err.hint) from err

    def __str__(self) -> str:
        return f"{SCHEME}{self.namespace}@{self.cid}"


def frozen_bytes(namespace: str, examples: tuple[Example, ...]) -> bytes:
    """Return the document of a frozen set: rows in order, in canonical JSON."""
    rows = [example.to_json() for example in examples]
    return canonical_json({"kind": KIND, "namespace": namespace, "rows": rows})


def read_frozen(captures: Captures, pin: Pin) -> tuple[Example, ...]:
    """Read a pinned set and check that it is the one pinned. Raises DataError."""
    captures.namespace(pin.namespace)
    path = captures.frozen(pin.cid)
    try:
        data = read_bytes(path, what="frozen set")
    except StorageError as err:
        raise DataError(
            f"{pin} is not on this machine: {err.message}", hint="kolm capture ls shows what is"
        ) from err
    if cid_of(data) != pin.cid:
        raise DataError(
            f"{path} was changed: its bytes are not {pin.cid}", hint="freeze it again: kolm capture split"
        )
    return _frozen_rows(data, pin)


def _frozen_rows(data: bytes, pin: Pin) -> tuple[Example, ...]:
    try:
        value: Any = parse_canonical(data, what=str(pin), max_bytes=len(data), max_values=len(data))
    except ArtifactError as err:
        raise DataError(f"{pin}: {err.message}", hint=err.hint) from err
    members = value.keys() if isinstance(value, dict) else set()
    if (
        members != {"kind", "namespace", "rows"}
        or value["kind"] != KIND
        or not isinstance(value["rows"], list)
    ):
        raise DataError(f"{pin} is not a {KIND} document", hint="kolm capture split NS makes one")
    if value["namespace"] != pin.namespace:
        raise DataError(
            f"{pin} was frozen from namespace {value['namespace']!r}", hint="pin it under that name"
        )
    return tuple(Example.from_json(row) for row in value["rows"])

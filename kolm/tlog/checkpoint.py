"""Checkpoints: what a log says of its whole tree at one size, as a signed note (c2sp.org/tlog-checkpoint)."""

import base64
import re
from dataclasses import dataclass, replace
from typing import Self

from kolm.canonical import decode_base64
from kolm.errors import ArtifactError, VerificationError
from kolm.keys import PrivateKey
from kolm.tlog.merkle import HASH_BYTES
from kolm.tlog.note import Note, NoteKey, sign_note

_COUNT = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_MAX_COUNT = (1 << 63) - 1
_HINT = "get it again from the log"


@dataclass(frozen=True)
class Checkpoint:
    """Origin, number of entries and root of a log."""

    origin: str
    size: int
    root: bytes
    time: int | None = None
    """When the log says this was its newest checkpoint, in seconds since 1970."""

    @classmethod
    def open(cls, data: bytes, key: NoteKey) -> Self:
        """Read a checkpoint that the log with this key signed for itself.

        Raises ArtifactError (E_NOTE_SYNTAX), VerificationError (E_LOG_KEY, E_NOTE_SIG, E_LOG_ORIGIN).
        """
        note = Note.parse(data)
        note.verify([key])
        found = cls.parse(note.text)
        if found.origin != key.name:
            raise VerificationError(
                f"the checkpoint is of log {found.origin[:80]}, its key of {key.name}",
                check="E_LOG_ORIGIN",
                hint="one key signs for one log; look at log.vkey of the trust directory",
            )
        return replace(found, time=note.time_of(key))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note's text; lines after the third are allowed and mean nothing. Raises ArtifactError."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines):
            raise _malformed("it has fewer than three lines, or an empty one")
        return cls(lines[0], count(lines[1]), decoded_hash(lines[2]))

    @property
    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, key: PrivateKey, *, time: int) -> bytes:
        """Return the checkpoint as a note of the log itself, with the time in seconds since 1970."""
        return sign_note(self.text, name=self.origin, key=key, time=time)


def count(text: str) -> int:
    """Read a size or an index: decimal, no leading zeros, below 2^63. Raises ArtifactError."""
    if not _COUNT.match(text) or int(text) > _MAX_COUNT:
        raise ArtifactError(
            f"{text[:24]!r} is not a size or an index of a log", check="E_NOTE_SYNTAX", hint=_HINT
        )
    return int(text)


def decoded_hash(text: str) -> bytes:
    """Read one SHA-256 hash in canonical base64. Raises ArtifactError (E_NOTE_SYNTAX)."""
    data = decode_base64(text)
    if data is None or len(data) != HASH_BYTES:
        raise ArtifactError("a hash is not 32 bytes in base64", check="E_NOTE_SYNTAX", hint=_HINT)
    return data


def _malformed(reason: str) -> ArtifactError:
    return ArtifactError(f"not a checkpoint: {reason}", check="E_NOTE_SYNTAX", hint=_HINT)

"""Log proofs: one text that shows offline that an entry is in a log (c2sp.org/tlog-proof@v1)."""

import base64
from dataclasses import dataclass
from typing import Self

from kolm.errors import ArtifactError, VerificationError
from kolm.tlog.checkpoint import Checkpoint, count, decoded_hash
from kolm.tlog.merkle import check_inclusion, leaf_hash
from kolm.tlog.note import MAX_BYTES, NoteKey

_FIRST = "c2sp.org/tlog-proof@v1"
_LONGEST = 63


@dataclass(frozen=True)
class LogProof:
    """Where an entry stands, the hashes up to the root, and the signed checkpoint with that root."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    """The note, verbatim, cosignatures included."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a proof. Raises ArtifactError (E_NOTE_SYNTAX)."""
        if len(data) > 2 * MAX_BYTES:
            raise _malformed(f"larger than {2 * MAX_BYTES} bytes")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as err:
            raise _malformed("not UTF-8") from err
        head, blank, note = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines.pop(0) != _FIRST:
            raise _malformed(f"it does not begin with {_FIRST}")
        if lines and lines[0].startswith("extra "):
            raise _malformed("it carries extra data, which kolm's proofs never do")
        if not lines or not lines[0].startswith("index "):
            raise _malformed("it names no index")
        if len(lines) > 1 + _LONGEST:
            raise _malformed("it has more hashes than any log needs")
        index = count(lines[0].removeprefix("index "))
        return cls(index, tuple(map(decoded_hash, lines[1:])), note.encode())

    def to_bytes(self) -> bytes:
        """Return the proof as text."""
        hashes = "".join(f"{base64.b64encode(found).decode()}\n" for found in self.hashes)
        return f"{_FIRST}\nindex {self.index}\n{hashes}\n".encode() + self.checkpoint

    def check(self, entry: bytes, key: NoteKey) -> Checkpoint:
        """Check that `entry` is in the log of this key and return the checkpoint that shows it.

        The checkpoint has to carry the log's time too: a line that may be spoiled unseen proves nothing.
        Raises ArtifactError, VerificationError (E_LOG_KEY, E_NOTE_SIG, E_LOG_ORIGIN, E_LOG_STALE,
        E_LOG_INCLUSION).
        """
        found = Checkpoint.open(self.checkpoint, key)
        if found.time is None:
            raise VerificationError(
                "the checkpoint does not say, signed by its log, when it was made",
                check="E_LOG_STALE",
                hint="get the proof again from the registry's log",
            )
        check_inclusion(
            leaf_hash(entry), index=self.index, size=found.size, proof=self.hashes, root=found.root
        )
        return found


def _malformed(reason: str) -> ArtifactError:
    return ArtifactError(
        f"not a log proof: {reason}", check="E_NOTE_SYNTAX", hint="get it again from the registry's log"
    )

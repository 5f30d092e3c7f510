"""Signed notes: text with signature lines, as logs and their readers exchange them (c2sp.org/signed-note).

Ed25519 signatures (type 0x01) and Ed25519 cosignatures with a time (type 0x04, c2sp.org/tlog-cosignature) are
made and verified; lines of keys that are not known are carried along unread.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from kolm.canonical import decode_base64
from kolm.errors import ArtifactError, VerificationError
from kolm.keys import PrivateKey, PublicKey

MAX_BYTES = 1 << 16
MAX_SIGNATURES = 64

_ED25519 = b"\x01"
_COSIGNATURE = b"\x04"
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+\Z")
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)\Z")
_HINT = "a note is text, a blank line and signature lines; get it again from the log"


@dataclass(frozen=True)
class NoteKey:
    """A named key whose signatures on notes count; written `name+key id+base64` (a vkey)."""

    name: str
    public: PublicKey

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a vkey. Raises ArtifactError (E_NOTE_SYNTAX), VerificationError (E_KEY_TYPE, E_KEY_WEAK)."""
        found = _VKEY.match(vkey.strip()) if len(vkey) <= 1024 else None
        raw = decode_base64(found[3]) if found else None
        if found is None or raw is None or not _NAME.match(found[1]):
            raise _malformed("not a verifier key `name+hex+base64`")
        if raw[:1] != _ED25519:
            raise VerificationError(
                "this log key is not Ed25519", check="E_KEY_TYPE", hint="kolm reads Ed25519 log keys"
            )
        key = cls(found[1], PublicKey(raw[1:]))
        if key.id.hex() != found[2]:
            raise _malformed("the key id of the verifier key is not that of its name and key")
        return key

    @property
    def id(self) -> bytes:
        """Return the 4 bytes that name the key in signature lines."""
        return self._id(_ED25519)

    @property
    def timed_id(self) -> bytes:
        """Return the 4 bytes that name the key in lines that also carry a time."""
        return self._id(_COSIGNATURE)

    def _id(self, kind: bytes) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + kind + self.public.raw).digest()[:4]

    @property
    def vkey(self) -> str:
        """Return the key as text."""
        encoded = base64.b64encode(_ED25519 + self.public.raw).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"


@dataclass(frozen=True)
class Note:
    """A note that was taken apart; whose signatures count is another question."""

    text: str
    """Ends in a newline."""
    signatures: tuple[tuple[str, bytes], ...]
    """Key name, then key id and signature, of each line."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Take a note apart. Raises ArtifactError (E_NOTE_SYNTAX)."""
        if len(data) > MAX_BYTES:
            raise _malformed(f"larger than {MAX_BYTES} bytes")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as err:
            raise _malformed("not UTF-8") from err
        if any(ord(letter) < 0x20 and letter != "\n" for letter in whole):
            raise _malformed("a control character")
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not text or not lines.endswith("\n"):
            raise _malformed("no text, blank line and signature lines")
        signed = lines[:-1].split("\n")
        if len(signed) > MAX_SIGNATURES:
            raise _malformed(f"more than {MAX_SIGNATURES} signatures")
        return cls(f"{text}\n", tuple(map(_signature, signed)))

    def verify(self, keys: Iterable[NoteKey]) -> None:
        """Check the lines of known keys: one at least, and none of them wrong.

        Raises VerificationError: E_LOG_KEY without a line of a known key, E_NOTE_SIG.
        """
        known = {(key.name, key.id): key for key in keys}
        mine = [(name, data) for name, data in self.signatures if (name, data[:4]) in known]
        if not mine:
            raise VerificationError(
                "the note is not signed by a log that this trust directory knows",
                check="E_LOG_KEY",
                hint="put the log's verifier key into log.vkey of the trust directory",
            )
        for name, data in mine:
            try:
                known[name, data[:4]].public.verify(data[4:], self.text.encode())
            except VerificationError as err:
                raise VerificationError(
                    f"the signature of {name} on the note is wrong", check="E_NOTE_SIG", hint=err.hint
                ) from err

    def time_of(self, key: NoteKey) -> int | None:
        """Return when the holder of a key last said the note was the newest, in seconds since 1970, or None.

        Raises VerificationError (E_NOTE_SIG) if any line of it that carries a time is wrong.
        """
        times = []
        for name, data in self.signatures:
            if (name, data[:4]) == (key.name, key.timed_id):
                times.append(int.from_bytes(data[4:12], "big"))
                try:
                    key.public.verify(data[12:], _timed(self.text, times[-1]))
                except VerificationError as err:
                    raise VerificationError(
                        f"the time that {name} signed is wrong", check="E_NOTE_SIG", hint=err.hint
                    ) from err
        return max(times, default=None)


def is_name(text: str) -> bool:
    """Say whether a key, and so a log, may have this name."""
    return len(text) <= 256 and bool(_NAME.match(text))


def sign_note(text: str, *, name: str, key: PrivateKey, time: int) -> bytes:
    """Return a note of `text`, which ends in a newline, signed twice: plainly, and with a time in seconds."""
    signer = NoteKey(name, key.public)
    signatures = (
        signer.id + key.sign(text.encode()),
        signer.timed_id + time.to_bytes(8, "big") + key.sign(_timed(text, time)),
    )
    lines = "".join(f"— {name} {base64.b64encode(signed).decode()}\n" for signed in signatures)
    return f"{text}\n{lines}".encode()


def _timed(text: str, time: int) -> bytes:
    """Return what a cosignature signs (c2sp.org/tlog-cosignature, Format)."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, encoded = line.split(" ") if line.count(" ") == 2 else ("", "", "")
    data = decode_base64(encoded)
    if dash != "—" or not _NAME.match(name) or data is None or len(data) < 5:
        raise _malformed("a signature line is not `— name base64`")
    return name, data


def _malformed(reason: str) -> ArtifactError:
    return ArtifactError(f"not a signed note: {reason}", check="E_NOTE_SYNTAX", hint=_HINT)

"""Content identifiers: CIDv1, raw codec, sha2-256, base32 lower case, always 59 characters.

That is the DASL profile (specs/formats/cid.md). One file has one CID and one CID has one spelling;
everything else is refused, however well formed it is elsewhere.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import NewType

from kolm.errors import ArtifactError
from kolm.files import open_for_reading, refusal

CID = NewType("CID", str)

_HEADER = bytes((0x01, 0x55, 0x12, 0x20))  # version 1, raw, sha2-256, 32 bytes (specs/formats/cid.md 2)
_PROFILE = re.compile(r"bafkrei[a-h][a-z2-7]{50}[aeimquy4]\Z")
"""The header is `afkrei` and two zero bits before `[a-h]`; the last letter ends in two unused zero bits."""
_LONGEST_FOREIGN = 128  # longer texts are not examined, whatever they hold
_BASE32 = re.compile(r"b[a-z2-7]+\Z")
_VERSION_0 = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}\Z")
_HINT = "a CID of kolm has 59 characters and begins with bafkrei"


def cid_of(data: bytes) -> CID:
    """Name the bytes `data`."""
    return cid_of_digest(hashlib.sha256(data).digest())


def cid_of_file(path: Path) -> CID:
    """Name the bytes of the file `path` without holding them. Raises StorageError."""
    return cid_of_digest(_digest_of_file(path))


def cid_of_digest(raw32: bytes) -> CID:
    """Name the bytes whose SHA-256 is `raw32` (32 bytes)."""
    if len(raw32) != hashlib.sha256().digest_size:
        raise ValueError(f"a SHA-256 digest has 32 bytes, not {len(raw32)}")
    return CID(_spell(_HEADER + raw32))


def parse_cid(text: str) -> CID:
    """Check that `text` is a CID of this profile, in its only spelling.

    Raises ArtifactError E_CID_SYNTAX, or E_CID_PROFILE for a well-formed CID of another kind.
    """
    if not isinstance(text, str) or len(text) > _LONGEST_FOREIGN:
        raise ArtifactError("this is not a CID: it is too long", check="E_CID_SYNTAX", hint=_HINT)
    if _PROFILE.match(text):
        return CID(text)
    kind = _foreign_kind(text)
    if kind is not None:
        raise ArtifactError(
            f"the CID {text} is {kind}, not raw and sha2-256 of 32 bytes", check="E_CID_PROFILE", hint=_HINT
        )
    raise ArtifactError(f"{text!r} is not a CID", check="E_CID_SYNTAX", hint=_HINT)


def digest_of(cid: str) -> bytes:
    """Return the SHA-256 (32 bytes) that `cid` names. Raises ArtifactError."""
    text = parse_cid(cid)
    return base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))[len(_HEADER) :]


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_hex_of_file(path: Path) -> str:
    """Return the SHA-256 of the file `path` as hex without holding its bytes. Raises StorageError."""
    return _digest_of_file(path).hex()


def _digest_of_file(path: Path) -> bytes:
    with open_for_reading(path, what="file") as handle:
        try:
            return hashlib.file_digest(handle, "sha256").digest()
        except OSError as err:
            raise refusal(err, action="read the file", path=path) from err


def _spell(raw: bytes) -> str:
    """Spell CID bytes as multibase base32, lower case, without padding."""
    return "b" + base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def _foreign_kind(text: str) -> str | None:
    """Describe a well-formed CID of another codec or hash; None when `text` is not one."""
    if _VERSION_0.match(text):
        return "version 0"
    if not _BASE32.match(text) or len(text) % 8 in (2, 4, 7):  # no number of bytes has that many characters
        return None
    raw = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
    version, rest = _varint(raw)
    codec, rest = _varint(rest)
    function, rest = _varint(rest)
    size, digest = _varint(rest)
    if version != 1 or codec is None or function is None or size != len(digest) or _spell(raw) != text:
        return None
    return f"{_word(codec)} and {_word(function)} of {size} bytes"


def _varint(raw: bytes) -> tuple[int | None, bytes]:
    """Split an unsigned varint in its shortest form from `raw`; None when there is none."""
    value = 0
    for at, byte in enumerate(raw[:9]):
        value |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return (None, b"") if at and not byte else (value, raw[at + 1 :])
    return None, b""


def _word(code: int) -> str:
    """Name a codec or hash by the multicodec table."""
    from multiformats import multicodec

    try:
        return str(multicodec.get(code=code).name)
    except KeyError:
        return hex(code)

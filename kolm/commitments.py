"""What a published training set says about rows it does not show.

Each row is committed to by keyed digests (specs/formats/set.md 3). Picture and group digests use a salt that
is published with the set, so anyone who has a picture can tell whether it was trained on. Texts use a
key that is never published, so nobody can guess a prompt and confirm the guess.
"""

import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from kolm.canonical import canonical_json
from kolm.errors import DataError, StorageError
from kolm.files import make_folder, read_bytes, write_atomic
from kolm.rows import Turn, messages_json

KIND = "kolm-salts/1"

_BYTES = 32


@dataclass(frozen=True)
class Salts:
    """Salt and key of a data set: made once, inputs of a compile like any other."""

    salt: bytes
    """32 bytes, published with the set."""

    key: bytes
    """32 bytes, never published."""

    def __post_init__(self) -> None:
        """Refuse to commit without a salt: whoever guesses a row could confirm it. Raises DataError."""
        if len(self.salt) != _BYTES or len(self.key) != _BYTES:
            raise DataError(f"salt and key have {_BYTES} bytes each", hint="`Salts.fresh()` draws new ones")

    @classmethod
    def fresh(cls) -> Self:
        """Draw new salts from the system's generator."""
        return cls(secrets.token_bytes(_BYTES), secrets.token_bytes(_BYTES))

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the salts beside a data set, or make them there, mode 0600.

        Two processes that make them at once end with the same ones. Raises DataError, StorageError.
        """
        if not path.exists():
            document = {"kind": KIND, "salt": secrets.token_hex(_BYTES), "key": secrets.token_hex(_BYTES)}
            make_folder(path.parent)
            try:
                write_atomic(path, canonical_json(document) + b"\n", mode=0o600, overwrite=False)
            except StorageError:
                if not path.exists():  # otherwise another process was first, and its salts are the ones
                    raise
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            document = json.loads(read_bytes(path, what="salts"))
            if set(document) != {"kind", "salt", "key"} or document["kind"] != KIND:
                raise ValueError("other members than kind, salt, key")
            return cls(bytes.fromhex(document["salt"]), bytes.fromhex(document["key"]))
        except (ValueError, TypeError, DataError) as err:
            raise DataError(
                f"{path} does not hold salts: {err}", hint="restore it, or remove it for new ones"
            ) from err


Label = Literal["bytes", "pixels"]
PartOfSet = Literal["rows", "validation"]


def image_commitment(salt: bytes, *, label: Label, digest: str) -> str:
    """Commit to a picture's bytes or pixels, given as hex SHA-256 -> hex."""
    return _hmac(salt, label.encode() + b"\0" + bytes.fromhex(digest))


def group_commitment(salt: bytes, *, group: str) -> str:
    """Commit to the name of a group: equal names stay equal, and that is all they show -> hex."""
    return _hmac(salt, b"group\0" + group.encode())


def text_commitment(key: bytes, *, part: PartOfSet, row_id: str, messages: tuple[Turn, ...]) -> str:
    """Commit to a row's conversation under a salt of its own, derived from the secret key -> hex.

    To open one row to an auditor, hand over its conversation and `row_salt`; the other rows stay closed.
    """
    return _hmac(row_salt(key, part=part, row_id=row_id), canonical_json(messages_json(messages)))


def row_salt(key: bytes, *, part: PartOfSet, row_id: str) -> bytes:
    """Derive the salt of one row's text commitment, 32 bytes."""
    return bytes.fromhex(_hmac(key, part.encode() + b"\0" + row_id.encode()))


def share(salt: bytes, *, group: str, label: str) -> float:
    """Place a group in [0, 1), evenly and independently for each label, by its salted hash alone."""
    return int(_hmac(salt, b"split\0" + label.encode() + b"\0" + group.encode())[:13], 16) / 16**13


def _hmac(key: bytes, message: bytes) -> str:
    return hmac.digest(key, message, "sha256").hex()

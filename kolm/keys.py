"""Ed25519 keys: how they sign, which signatures count, and how they rest on a disk.

Verification accepts exactly what libsodium accepts: encodings are canonical and points of small order
are refused, because under such a key one signature fits many messages (specs/formats/envelope.md 3).
"""

import base64
import getpass
import hashlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from kolm.errors import SigningError, VerificationError
from kolm.files import home, make_folder, open_for_reading, write_atomic

Passphrase = Callable[[], bytes | None]
"""Asked only when a key is encrypted; None means that there is no passphrase to be had."""

_P = 2**255 - 19  # RFC 8032 5.1: the field
_L = 2**252 + 27742317777372353535851937790883648493  # and the order of the base point
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # y of a point of order 8
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})  # y of all points whose order divides 8
_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410 4: before the 32 bytes of the key
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*\Z")
_NAME = re.compile(r"(?!.*\.pub\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_LARGEST_FILE = 64 * 1024
_ROUNDS = 600_000  # PBKDF2-HMAC-SHA256; the library's own 2048 fall to a graphics card


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked against, by its 32 bytes (RFC 8032 5.1.5).

    Raises VerificationError E_KEY_TYPE for another length, E_KEY_WEAK for a point of small order
    or an encoding that is not the shortest.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise VerificationError(f"an Ed25519 key has 32 bytes, not {len(self.raw)}", check="E_KEY_TYPE")
        if _is_weak(self.raw):
            raise VerificationError(
                "this public key is weak: one signature would fit many messages",
                check="E_KEY_WEAK",
                hint="do not trust it; ask its owner for a key made by `kolm key new`",
            )

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """Read a PEM SubjectPublicKeyInfo.

        Raises SigningError when it is no public key, VerificationError E_KEY_TYPE, E_KEY_WEAK.
        """
        if "PRIVATE KEY-----" in text:
            raise SigningError(
                "this is a private key", hint="give the public one (.pub.pem), and keep this one secret"
            )
        found = _PEM.match(text) if len(text) <= _LARGEST_FILE else None
        try:
            der = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
        except ValueError:
            der = b""
        if not der:
            raise SigningError(
                "this is not a public key in PEM form", hint="a key file begins with BEGIN PUBLIC KEY"
            )
        if not der.startswith(_SPKI):
            raise VerificationError(
                "this public key is not Ed25519", check="E_KEY_TYPE", hint="kolm signs with Ed25519"
            )
        return cls(der[len(_SPKI) :])

    def pem(self) -> str:
        """Return the PEM SubjectPublicKeyInfo, as openssl writes it."""
        body = base64.b64encode(_SPKI + self.raw).decode("ascii")
        return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"

    @property
    def key_id(self) -> str:
        """Return the key's id: SHA-256 (hex) of its SubjectPublicKeyInfo."""
        return hashlib.sha256(_SPKI + self.raw).hexdigest()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a signature over `data`. Raises VerificationError E_SIG_INVALID."""
        canonical = len(signature) == 64 and not _is_weak(signature[:32])
        if canonical and int.from_bytes(signature[32:], "little") < _L:
            try:
                Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
            except InvalidSignature:
                pass
            else:
                return
        raise VerificationError(
            f"the signature was not made by key {self.key_id[:16]}… over these bytes",
            check="E_SIG_INVALID",
            hint="something was changed after it was signed; get it again from its publisher",
        )


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def key_id(self) -> str:
        """Return the id of the public half."""
        return self.public.key_id

    def sign(self, data: bytes) -> bytes:
        """Sign `data`: 64 bytes, the same ones every time (RFC 8032 5.1.6)."""
        return self._key.sign(data)

    def der(self) -> bytes:
        """Return the unencrypted PKCS#8 form, 48 bytes (RFC 8410 7)."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        return f"PrivateKey({self.key_id[:16]}…)"


def key_path(name: str = "default") -> Path:
    """Return where the private key `name` rests. Raises SigningError for a name that is no file name."""
    if not _NAME.match(name):
        raise SigningError(
            f"{name!r} cannot name a key", hint="use letters, digits, dot, dash and underscore"
        )
    return home() / "keys" / f"{name}.pem"


def public_path(private: Path) -> Path:
    """Return where the public half of the key file `private` rests: beside it, `.pub.pem`."""
    return private.with_suffix(".pub.pem")


def save_private(key: PrivateKey, path: Path, *, passphrase: bytes | None, rounds: int = _ROUNDS) -> None:
    """Write a key as PKCS#8 PEM of mode 0600, encrypted unless `passphrase` is None.

    Its public half goes beside it (`public_path`), for those who are to trust it. An existing file is
    never replaced. Raises SigningError, StorageError.
    """
    if passphrase == b"":
        raise SigningError("the passphrase is empty", hint="choose one, or ask for --unencrypted")
    if path.exists():
        raise SigningError(f"{path} exists already", hint="choose another --name, or move it away first")
    make_folder(path.parent, mode=0o700)
    label, der = "PRIVATE KEY", key.der()
    if passphrase is not None:
        label, der = "ENCRYPTED PRIVATE KEY", _encrypt(der, passphrase=passphrase, rounds=rounds)
    body = base64.encodebytes(der).decode("ascii").replace("\n", "")
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    pem = f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"
    write_atomic(path, pem.encode("ascii"), mode=0o600, overwrite=False)
    write_atomic(public_path(path), key.public.pem().encode("ascii"))


def load_private(path: Path, *, passphrase: Passphrase) -> PrivateKey:
    """Read a private key; `passphrase` is asked only when the file is encrypted.

    Raises SigningError, also when others than its owner may read the file.
    """
    if not path.exists():
        raise SigningError(f"there is no key {path}", hint="make one with `kolm key new`, or name another")
    data = _read_secret(path, what="key")
    secret = passphrase() if is_encrypted(data) else None
    if is_encrypted(data) and not secret:
        raise SigningError(f"the key {path} needs its passphrase", hint="set KOLM_KEY_PASSPHRASE_FILE")
    try:
        key = load_pem_private_key(data, password=secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        what = (
            "the passphrase is wrong, or the file is damaged"
            if secret
            else "it is not a private key in PEM form"
        )
        raise SigningError(f"cannot use the key {path}: {what}", hint="check file and passphrase") from err
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"the key {path} is not Ed25519", hint="make one with `kolm key new`")
    return PrivateKey(key)


def is_encrypted(pem: bytes) -> bool:
    """Say whether a private key file asks for a passphrase."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem


def passphrase_source(prompt: bool, *, confirm: bool = False) -> Passphrase:
    """Return where a passphrase comes from.

    In this order: `KOLM_KEY_PASSPHRASE`; the file `KOLM_KEY_PASSPHRASE_FILE` names (mode 0600, a final
    newline does not count); a prompt, if `prompt` and on a terminal. Calling it raises SigningError.
    """

    def ask() -> bytes | None:
        if "KOLM_KEY_PASSPHRASE" in os.environ:
            return os.environ["KOLM_KEY_PASSPHRASE"].encode()
        if file := os.environ.get("KOLM_KEY_PASSPHRASE_FILE"):
            return _read_secret(Path(file), what="passphrase file").removesuffix(b"\n").removesuffix(b"\r")
        if prompt and sys.stdin.isatty():
            return _prompt(confirm=confirm)
        raise SigningError(
            "the signing key needs a passphrase, and there is no terminal to ask on",
            hint="set KOLM_KEY_PASSPHRASE_FILE to a file of mode 0600, or KOLM_KEY_PASSPHRASE",
        )

    return ask


def _prompt(*, confirm: bool) -> bytes:
    """Ask on the terminal, twice for a new key."""
    secret = getpass.getpass("Passphrase of the signing key: ")
    if confirm and getpass.getpass("The same again: ") != secret:
        raise SigningError("the two passphrases differ", hint="run it again")
    return secret.encode()


def _read_secret(path: Path, *, what: str) -> bytes:
    """Read a file that only its owner may read (checked on the open file). Raises SigningError."""
    with open_for_reading(path, what=what) as handle:
        mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
        if mode & 0o077:
            raise SigningError(
                f"others can read the {what} {path} (mode {mode:04o})", hint=f"chmod 600 {path}"
            )
        return handle.read(_LARGEST_FILE)


def _is_weak(encoded: bytes) -> bool:
    """Say whether 32 bytes encode a point of small order, or any point not in its shortest form."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)  # the top bit is the sign of x
    return y >= _P or y in _SMALL_ORDER


def _encrypt(der: bytes, *, passphrase: bytes, rounds: int) -> bytes:
    """Encrypt PKCS#8 bytes as openssl does (RFC 8018 6.2): PBKDF2-HMAC-SHA256 and AES-256-CBC."""
    salt, start = secrets.token_bytes(16), secrets.token_bytes(16)
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, rounds)
    padder, cipher = PKCS7(128).padder(), Cipher(algorithms.AES256(key), modes.CBC(start)).encryptor()
    sealed = cipher.update(padder.update(der) + padder.finalize()) + cipher.finalize()
    count = _asn1(0x02, rounds.to_bytes(rounds.bit_length() // 8 + 1, "big"))
    hmac_sha256 = _asn1(0x30, bytes.fromhex("06082a864886f70d02090500"))
    pbkdf2 = _asn1(
        0x30, bytes.fromhex("06092a864886f70d01050c"), _asn1(0x30, _asn1(0x04, salt), count, hmac_sha256)
    )
    aes256 = _asn1(0x30, bytes.fromhex("060960864801650304012a"), _asn1(0x04, start))
    pbes2 = _asn1(0x30, bytes.fromhex("06092a864886f70d01050d"), _asn1(0x30, pbkdf2, aes256))
    return _asn1(0x30, pbes2, _asn1(0x04, sealed))


def _asn1(tag: int, *parts: bytes) -> bytes:
    """Wrap DER parts of fewer than 256 bytes."""
    body = b"".join(parts)
    return bytes((tag, len(body)) if len(body) < 128 else (tag, 0x81, len(body))) + body

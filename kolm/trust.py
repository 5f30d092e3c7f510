"""The trust directory: whose signatures count, since when, until when, and which no longer do.

    keys/<key id>.json   {"pem": ..., "from": time | null, "until": time | null, "label": ...}
    revoked.json         {"<key id or CID>": {"at": time, "reason": ..., "index": place, "log": vkey}}
    log.vkey             the key of the log whose proofs count
    policy.yaml          what a receipt must show beyond being true (`kolm.policy`)

It belongs to whoever verifies. Nothing in an artifact or a receipt adds to it (specs/formats/envelope.md 4).
"""

import json
import os
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from kolm.canonical import canonical_json, unique_names
from kolm.cid import parse_cid
from kolm.errors import CheckedError, SigningError, SpecError, VerificationError
from kolm.files import home, locked, make_folder, read_bytes, refusal, write_atomic
from kolm.instants import read_instant, spell_instant
from kolm.keys import PublicKey
from kolm.policy import Policy, read_policy
from kolm.tlog.note import NoteKey

_LARGEST_FILE = 1 << 20
_KEY_ID = re.compile(r"[0-9a-f]{64}\Z")
_HINT = "correct the file, or make it anew with `kolm key trust`"


@dataclass(frozen=True)
class TrustedKey:
    """A key whose signatures count from `from_` (included) until `until` (excluded); None is open."""

    public: PublicKey
    from_: datetime | None = None
    until: datetime | None = None
    label: str = ""

    def valid_at(self, instant: datetime) -> bool:
        """Say whether signatures made at `instant` count."""
        return (self.from_ is None or self.from_ <= instant) and (self.until is None or instant < self.until)


@dataclass(frozen=True)
class Revocation:
    """Why a key or an artifact no longer counts, and since when that is known."""

    at: datetime
    reason: str
    index: int | None = None
    """Where a log says so: what the key signed and that log holds at a smaller index counts still."""
    log: NoteKey | None = None
    """Which log says so; none exactly if there is no index."""

    def spares(self, index: int | None, *, log: NoteKey | None) -> bool:
        """Say whether what a key signed still counts, by where `log` holds it: another log shows nothing."""
        if self.index is None or self.log is None or index is None or log != self.log:
            return False
        return index < self.index

    def to_json(self) -> dict[str, Any]:
        """Return the entry of revoked.json."""
        place = {"index": self.index, "log": self.log.vkey} if self.log else {}
        return {"at": spell_instant(self.at), "reason": self.reason} | place


@dataclass(frozen=True)
class TrustStore:
    """The keys, revocations and policy of one verifying side; `dir` is None when they are in memory only."""

    dir: Path | None = None
    keys: Mapping[str, TrustedKey] = field(default_factory=dict)
    revocations: Mapping[str, Revocation] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    log: NoteKey | None = None
    """Key of the log whose proofs count."""

    @classmethod
    def open(cls, dir: Path) -> Self:
        """Read a trust directory; one that does not exist trusts nobody.

        Raises SpecError for a file that cannot be understood, VerificationError for a weak key, StorageError.
        """
        try:
            files = sorted((dir / "keys").iterdir()) if os.path.lexists(dir / "keys") else []
            keys = {path.stem: _trusted_key(path) for path in files if path.suffix == ".json"}
            log = _log(dir / "log.vkey")
            return cls(
                dir, keys, _revocations(dir), read_policy(dir / "policy.yaml", log=log is not None), log
            )
        except OSError as err:
            raise refusal(err, action="read the trust directory", path=dir) from err

    @classmethod
    def of(cls, *keys: PublicKey, policy: Policy | None = None) -> Self:
        """Trust exactly these keys."""
        return cls(keys={key.key_id: TrustedKey(key) for key in keys}, policy=policy or Policy())

    def key(self, keyid: str) -> TrustedKey:
        """Return the trusted key of this id. Raises VerificationError E_KEY_UNTRUSTED."""
        try:
            return self.keys[keyid]
        except KeyError:
            there = "" if self.dir in (None, default_trust_dir()) else f" --dir {self.dir}"
            raise VerificationError(
                f"the key {keyid[:64]} is not trusted by {self.dir or 'the given keys'}",
                check="E_KEY_UNTRUSTED",
                hint=f"get the public key from its publisher, then `kolm key trust KEY.pem{there}`",
            ) from None

    def revoked(self, subject: str) -> Revocation | None:
        """Return the revocation of a key, by its id, or of an artifact, by its CID, if there is one."""
        return self.revocations.get(subject)

    def timeless(self) -> "TrustStore":
        """Return the trusted keys alone, without windows and revocations."""
        keys = {keyid: TrustedKey(trusted.public) for keyid, trusted in self.keys.items()}
        return replace(self, keys=keys, revocations={})


def default_trust_dir() -> Path:
    """Return the trust directory that is used when none is named."""
    return home() / "trust"


def trust_key(
    dir: Path,
    public: PublicKey,
    *,
    label: str = "",
    from_: datetime | None = None,
    until: datetime | None = None,
) -> Path:
    """Trust a key, or change for how long, and return its file.

    Raises SigningError for a revoked key or a window that is empty, StorageError.
    """
    if public.key_id in _revocations(dir):
        raise SigningError(
            f"the key {public.key_id} is revoked in {dir}", hint="ask its owner for the new one"
        )
    if from_ is not None and until is not None and until <= from_:
        raise SigningError("the key would never count: until is not after from", hint="give a later time")
    window = {"from": from_ and spell_instant(from_), "until": until and spell_instant(until)}
    row = {"pem": public.pem(), **window, "label": label}
    path = make_folder(dir / "keys") / f"{public.key_id}.json"
    write_atomic(path, canonical_json(row) + b"\n")
    return path


def trust_log(dir: Path, vkey: str) -> Path:
    """Let the proofs of this log count, and no other's, and return the key's file.

    Raises ArtifactError (E_NOTE_SYNTAX), VerificationError (E_KEY_TYPE, E_KEY_WEAK), StorageError.
    """
    key = NoteKey.parse(vkey)
    write_atomic(path := make_folder(dir) / "log.vkey", f"{key.vkey}\n".encode())
    return path


def revoke(
    dir: Path, subject: str, reason: str, *, index: int | None = None, log: NoteKey | None = None
) -> Path:
    """Let a key or an artifact no longer count, and return the list's file.

    `subject` is a key id or a CID, `index` where `log` says so, the one of log.vkey unless it is given.
    Revoking again adds an index that was not known, or replaces one of another log. Others may revoke at
    the same time. Raises SigningError, SpecError, StorageError.
    """
    if not _is_subject(subject):
        raise SigningError(
            f"{subject[:80]!r} is neither a key id nor a CID",
            hint="a key id has 64 hex digits; see `kolm key list`",
        )
    if not reason.strip():
        raise SigningError("a revocation needs a reason", hint="say in a few words what happened")
    log = None if index is None else log or _log(dir / "log.vkey")
    if index is not None and log is None:
        raise SigningError(
            f"entry {index} of which log? none is trusted in {dir}",
            hint="trust it first with `kolm key trust --log VKEY`, or leave the index out",
        )
    path = make_folder(dir) / "revoked.json"
    with locked(dir / "revoked.lock"):
        known = _revocations(dir)
        entry = known.get(subject) or Revocation(datetime.now(UTC), reason.strip())
        known[subject] = entry if log in (None, entry.log) else replace(entry, index=index, log=log)
        rows = {name: row.to_json() for name, row in known.items()}
        write_atomic(path, canonical_json(rows) + b"\n")
    return path


def _is_subject(text: str) -> bool:
    """Say whether a text is a key id or a CID."""
    try:
        return bool(_KEY_ID.match(text)) or parse_cid(text) == text
    except CheckedError:
        return False


def _trusted_key(path: Path) -> TrustedKey:
    row = _object(path, members={"pem", "from", "until"}, optional={"label"})
    pem, label = row["pem"], row.get("label", "")
    if not isinstance(pem, str) or not isinstance(label, str):
        raise _unusable(path, "pem and label are not text")
    try:
        public = PublicKey.from_pem(pem)
    except SigningError as err:
        raise _unusable(path, err.message) from err
    except VerificationError as err:
        raise VerificationError(f"{path}: {err.message}", check=err.check, hint=err.hint) from err
    if path.stem != public.key_id:
        raise _unusable(path, f"it holds the key {public.key_id}")
    return TrustedKey(public, _instant(path, row["from"]), _instant(path, row["until"]), label)


def _revocations(dir: Path) -> dict[str, Revocation]:
    path = dir / "revoked.json"
    found: dict[str, Revocation] = {}
    for subject, row in (_object(path) if os.path.lexists(path) else {}).items():
        members = set(row) if isinstance(row, dict) else set()
        if not _is_subject(subject) or members not in ({"at", "reason"}, {"at", "reason", "index", "log"}):
            raise _unusable(
                path,
                f"the entry {subject[:80]!r} is not a key id or CID with at and reason, "
                "and with index and log where a log says so",
            )
        at, index = _instant(path, row["at"]), row.get("index")
        if at is None or not isinstance(row["reason"], str):
            raise _unusable(path, f"the entry {subject[:80]!r} lacks a time or a reason")
        if "index" in row and (isinstance(index, bool) or not isinstance(index, int) or index < 0):
            raise _unusable(path, f"the index of {subject[:80]!r} is not a place in a log")
        log = _note_key(path, row["log"]) if "log" in row else None
        found[subject] = Revocation(at, row["reason"], index, log)
    return found


def _log(path: Path) -> NoteKey | None:
    if not os.path.lexists(path):
        return None
    try:
        text = read_bytes(path, what="log key", max_bytes=_LARGEST_FILE).decode("utf-8")
    except UnicodeDecodeError as err:
        raise _unusable(path, str(err)) from err
    return _note_key(path, text)


def _note_key(path: Path, vkey: Any) -> NoteKey:
    if not isinstance(vkey, str):
        raise _unusable(path, f"{vkey!r} is not the key of a log")
    try:
        return NoteKey.parse(vkey)
    except CheckedError as err:
        raise _unusable(path, err.message) from err


def _object(path: Path, *, members: Set[str] = frozenset(), optional: Set[str] = frozenset()) -> Any:
    """Read a JSON object whose names are unique and, if `members` are given, no others."""
    data = read_bytes(path, what="trust file", max_bytes=_LARGEST_FILE)
    if not data:
        raise _unusable(path, "it is empty")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique_names)
    except (ValueError, RecursionError) as err:
        raise _unusable(path, str(err)) from err
    if not isinstance(value, dict):
        raise _unusable(path, "it is not an object")
    if members and not members <= set(value) <= members | optional:
        raise _unusable(path, f"it does not have exactly {', '.join(sorted(members))}")
    return value


def _instant(path: Path, text: Any) -> datetime | None:
    """Read a time; null is no time."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise _unusable(path, f"{text!r} is not a time")
    try:
        return read_instant(text)
    except ValueError as err:
        raise _unusable(path, str(err)) from err


def _unusable(path: Path, reason: str) -> SpecError:
    return SpecError(f"{path}: {reason[:300]}", hint=_HINT)

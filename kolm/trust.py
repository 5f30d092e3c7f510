"""The trust directory: whose signatures count, since when, until when, and which no longer do.

    keys/<key id>.json   {"pem": ..., "from": time | null, "until": time | null, "label": ...}
    revoked.json         {"<key id>": {"at": time, "reason": ...}}
    policy.yaml          what a receipt must show beyond being true

It belongs to whoever verifies. Nothing in an artifact or a receipt adds to it (specs/formats/envelope.md 4).
"""

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from kolm.canonical import canonical_json
from kolm.errors import SigningError, SpecError, VerificationError
from kolm.files import home, make_folder, read_bytes, refusal, write_atomic
from kolm.keys import PublicKey

LARGEST_MISMATCH = 0.2
"""Most of what a policy may let pass: beyond it, answers are not compared any more."""

_LARGEST_FILE = 1 << 20
_KEY_ID = re.compile(r"[0-9a-f]{64}\Z")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
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
    """Why a key no longer counts, and since when that is known."""

    at: datetime
    reason: str


@dataclass(frozen=True)
class Policy:
    """What the verifying side asks for beyond true statements."""

    require_pass: bool = False
    """Refuse artifacts whose gate verdict is not PASS."""
    replay_mismatch: float = 0.0
    """Share of replayed outputs that may differ on another machine than the receipt's (verify.md 4)."""


@dataclass(frozen=True)
class TrustStore:
    """The keys, revocations and policy of one verifying side; `dir` is None when they are in memory only."""

    dir: Path | None = None
    keys: Mapping[str, TrustedKey] = field(default_factory=dict)
    revocations: Mapping[str, Revocation] = field(default_factory=dict)
    policy: Policy = Policy()

    @classmethod
    def open(cls, dir: Path) -> Self:
        """Read a trust directory; one that does not exist trusts nobody.

        Raises SpecError for a file that cannot be understood, VerificationError for a weak key, StorageError.
        """
        try:
            files = sorted((dir / "keys").iterdir()) if (dir / "keys").exists() else []
            keys = {path.stem: _trusted_key(path) for path in files if path.suffix == ".json"}
            return cls(dir=dir, keys=keys, revocations=_revocations(dir), policy=_policy(dir / "policy.yaml"))
        except OSError as err:
            raise refusal(err, action="read the trust directory", path=dir) from err

    @classmethod
    def of(cls, *keys: PublicKey, policy: Policy | None = None) -> Self:
        """Trust exactly these keys, without a directory."""
        return cls(keys={key.key_id: TrustedKey(key) for key in keys}, policy=policy or Policy())

    def key(self, keyid: str) -> TrustedKey:
        """Return the trusted key of this id. Raises VerificationError E_KEY_UNTRUSTED."""
        try:
            return self.keys[keyid]
        except KeyError:
            where = self.dir or "the given keys"
            raise VerificationError(
                f"the key {keyid[:64]} is not trusted by {where}",
                check="E_KEY_UNTRUSTED",
                hint="get the publisher's public key from the publisher, then `kolm key trust KEY.pem`",
            ) from None

    def revoked(self, keyid: str) -> Revocation | None:
        """Return the revocation of a key, None when there is none."""
        return self.revocations.get(keyid)


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
    row = {"pem": public.pem(), "from": _spell(from_), "until": _spell(until), "label": label}
    path = make_folder(dir / "keys") / f"{public.key_id}.json"
    write_atomic(path, canonical_json(row) + b"\n")
    return path


def revoke_key(dir: Path, keyid: str, reason: str) -> Path:
    """Let a key no longer count, whatever it signed and whenever, and return the list's file.

    Revoking again changes nothing. Raises SigningError, StorageError.
    """
    if not _KEY_ID.match(keyid):
        raise SigningError(
            f"{keyid!r} is not a key id", hint="a key id has 64 hex digits; see `kolm key list`"
        )
    if not reason.strip():
        raise SigningError("a revocation needs a reason", hint="say in a few words what happened")
    rows = {
        known: {"at": _spell(entry.at), "reason": entry.reason} for known, entry in _revocations(dir).items()
    }
    rows.setdefault(keyid, {"at": _spell(datetime.now(UTC)), "reason": reason.strip()})
    path = make_folder(dir) / "revoked.json"
    write_atomic(path, canonical_json(rows) + b"\n")
    return path


def _trusted_key(path: Path) -> TrustedKey:
    row = _object(path, members={"pem", "from", "until"}, optional={"label"})
    pem, label = row["pem"], row.get("label", "")
    if not isinstance(pem, str) or not isinstance(label, str):
        raise _unusable(path, "pem and label are not text")
    try:
        public = PublicKey.from_pem(pem)
    except SigningError as err:
        raise _unusable(path, err.message) from err
    if path.stem != public.key_id:
        raise _unusable(path, f"it holds the key {public.key_id}")
    return TrustedKey(public, _instant(path, row["from"]), _instant(path, row["until"]), label)


def _revocations(dir: Path) -> dict[str, Revocation]:
    path = dir / "revoked.json"
    found: dict[str, Revocation] = {}
    for keyid, row in (_object(path) if path.exists() else {}).items():
        if not _KEY_ID.match(keyid) or not isinstance(row, dict) or set(row) != {"at", "reason"}:
            raise _unusable(path, f"the entry {keyid[:80]!r} is not a key id with at and reason")
        at = _instant(path, row["at"])
        if at is None or not isinstance(row["reason"], str):
            raise _unusable(path, f"the entry {keyid[:80]!r} lacks a time or a reason")
        found[keyid] = Revocation(at, row["reason"])
    return found


def _policy(path: Path) -> Policy:
    """Read policy.yaml, in which every word is known: a misspelt demand must not be a demand less."""
    if not path.exists():
        return Policy()
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    data = read_bytes(path, what="policy", max_bytes=_LARGEST_FILE)
    try:
        document = YAML(typ="safe", pure=True).load(data.decode("utf-8")) or {}
    except (YAMLError, ValueError) as err:
        raise _unusable(path, str(err)) from err
    if not isinstance(document, dict) or set(document) - {"require_pass", "replay_mismatch"}:
        raise _unusable(path, "only require_pass and replay_mismatch are known")
    require_pass, share = document.get("require_pass", False), document.get("replay_mismatch", 0)
    if not isinstance(require_pass, bool):
        raise _unusable(path, "require_pass is true or false")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= LARGEST_MISMATCH:
        raise _unusable(path, f"replay_mismatch is a share from 0 to {LARGEST_MISMATCH}")
    return Policy(require_pass=require_pass, replay_mismatch=float(share))


def _object(
    path: Path, *, members: Set[str] | None = None, optional: Set[str] = frozenset()
) -> dict[str, Any]:
    """Read a JSON object whose names are unique and, if `members` are given, no others."""
    data = read_bytes(path, what="trust file", max_bytes=_LARGEST_FILE)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as err:
        raise _unusable(path, str(err)) from err
    if not isinstance(value, dict):
        raise _unusable(path, "it is not an object")
    if members is not None and not members <= set(value) <= members | optional:
        raise _unusable(path, f"it does not have exactly {', '.join(sorted(members))}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _instant(path: Path, text: Any) -> datetime | None:
    """Read a time as `2026-11-20T16:23:01Z`; null is no time."""
    if text is None:
        return None
    try:
        instant = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except (TypeError, ValueError) as err:
        raise _unusable(path, f"{text!r} is not a time like 2026-01-31T00:00:00Z") from err
    return instant


def _spell(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).strftime(_TIME)


def _unusable(path: Path, reason: str) -> SpecError:
    return SpecError(f"{path}: {reason[:300]}", hint=_HINT)

"""The policy of a trust directory: what a receipt must show beyond being true (envelope.md 4)."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolm.errors import SpecError
from kolm.files import read_bytes

LARGEST_MISMATCH = 0.2
"""Most of what a policy may let pass: beyond it, answers are not compared any more."""

_LARGEST_FILE = 1 << 20
_SWITCHES = {"require_pass", "require_log"}
_NUMBERS = {"replay_mismatch": LARGEST_MISMATCH, "log_max_age_days": 36525}
_DEMANDS = _SWITCHES | set(_NUMBERS)


@dataclass(frozen=True)
class Policy:
    """What the verifying side asks for beyond true statements."""

    require_pass: bool = False
    """Refuse artifacts whose gate verdict is not PASS."""
    replay_mismatch: float = 0.0
    """Share of replayed outputs that may differ on another machine than the receipt's (verification.md 4)."""
    require_log: bool = False
    """Refuse receipts without a proof that they are in the log."""
    log_max_age_days: float | None = None
    """Refuse proofs whose checkpoint is older; None takes any."""


def read_policy(path: Path, *, log: bool) -> Policy:
    """Read policy.yaml, in which every word is known: a misspelt demand must not be a demand less.

    Missing evidence is failure: where a `log` is trusted, or the age of its checkpoint limited, a proof is
    required unless the file says `require_log: false`. Raises SpecError, StorageError.
    """
    said = _document(path) if os.path.lexists(path) else {}
    for word in _SWITCHES & set(said):
        if not isinstance(said[word], bool):
            raise _unusable(path, f"{word} is true or false")
    for word, most in _NUMBERS.items():
        value = said.get(word, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise _unusable(path, f"{word} is a number from 0 to {most}")
    return Policy(**({"require_log": log or "log_max_age_days" in said} | said))


def _document(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    data = read_bytes(path, what="policy", max_bytes=_LARGEST_FILE)
    try:
        document = YAML(typ="safe", pure=True).load(data.decode("utf-8"))
    except (YAMLError, ValueError) as err:
        raise _unusable(path, str(getattr(err, "problem", None) or err).splitlines()[0]) from err
    if document is None:  # nothing but comments
        return {}
    if not isinstance(document, dict) or set(document) - _DEMANDS:
        raise _unusable(path, f"only {', '.join(sorted(_DEMANDS))} are known")
    return document


def _unusable(path: Path, reason: str) -> SpecError:
    return SpecError(
        f"{path}: {reason[:300]}",
        hint="correct it, such as `require_log: true`; specs/formats/envelope.md 4 says what it may hold",
    )

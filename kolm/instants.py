"""Times as documents spell them: UTC in whole seconds, `2026-01-31T12:00:00Z`, and in no other way."""

import re
from datetime import UTC, datetime

PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
"""The one form of RFC 3339 5.6 that is read and written."""

_SPELLED = re.compile(PATTERN)


def read_instant(text: str) -> datetime:
    """Return the moment that a text names. Raises ValueError for another form, or a time no calendar has."""
    if not _SPELLED.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time like 2026-01-31T00:00:00Z")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def spell_instant(instant: datetime) -> str:
    """Return the spelling of a moment; what is below a second is cut off."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"

"""Canonical JSON (RFC 8785) and base64: one value, one spelling, so that equal things have equal digests.

Reading is as strict as writing: bytes that are not the canonical spelling of what they say are
refused, which disposes of duplicate keys, odd numbers, escapes and white space in one comparison
(specs/formats/envelope.md 5).
"""

import base64
import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

import rfc8785

from kolm.errors import ArtifactError

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 2_000_000
"""Most commas and opening brackets of a document, wherever they stand: what reading costs goes by them."""
MAX_LINES = 500_000
_LARGEST_INTEGER = 2**53 - 1  # RFC 7493 2.2: beyond it, numbers stop being exact in other readers
_PLAIN_BELOW = 1e21  # ES6 writes whole numbers below this without an exponent (RFC 8785 3.2.2.3)
_HINT = "the file was changed or written by something else; get it again from its publisher"


def canonical_json(value: Any) -> bytes:
    """Write `value` as RFC 8785 JSON.

    Refused are NaN, infinities, whole numbers of 2^53 and beyond that would be written without an
    exponent, keys that are not strings, lone surrogates, and whatever JSON has no word for.
    Raises ArtifactError E_JSON_CANONICAL.
    """
    try:
        _check_value(value, depth=0)
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as err:
        raise _error(f"this value has no canonical JSON form: {err}") from err
    except RecursionError as err:
        raise _error("this value has no canonical JSON form: it is nested too deeply") from err


def parse_canonical(
    data: bytes,
    *,
    what: str,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_values: int = MAX_VALUES,
) -> Any:
    """Read canonical JSON; `what` names it in messages.

    Raises ArtifactError E_LIMIT for more than `max_bytes`, or more commas and opening brackets than
    `max_values`, E_JSON_CANONICAL for everything that is not the canonical spelling of a value nested at
    most `max_depth` deep.
    """
    if len(data) > max_bytes:
        raise ArtifactError(f"{what} has {len(data)} bytes; at most {max_bytes} are read", check="E_LIMIT")
    if len(data) > max_values and sum(map(data.count, (b",", b"[", b"{"))) > max_values:
        raise ArtifactError(f"{what} holds more than {max_values} values", check="E_LIMIT")
    if not data:
        raise _error(f"{what} is empty")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique_names,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
        _check_value(value, depth=0, max_depth=max_depth)
        spelled = rfc8785.dumps(value)
    except (ValueError, RecursionError) as err:
        raise _error(f"{what} is not canonical JSON: {_reason(err)}") from err
    if spelled != data:
        raise _error(
            f"{what} is not canonical JSON: it is spelled differently at byte {_parting(spelled, data)}"
        )
    return value


def canonical_lines(rows: Iterable[Any]) -> bytes:
    """Write JSON Lines: each row canonical, each line ended by one newline. Raises ArtifactError."""
    return b"".join(canonical_json(row) + b"\n" for row in rows)


def parse_canonical_lines(data: bytes, *, what: str, max_bytes: int = MAX_BYTES) -> list[Any]:
    """Read JSON Lines whose every line is canonical; no bytes are no rows. Raises ArtifactError."""
    if len(data) > max_bytes:
        raise ArtifactError(f"{what} has {len(data)} bytes; at most {max_bytes} are read", check="E_LIMIT")
    if not data:
        return []
    if data.count(b"\n") > MAX_LINES:
        raise ArtifactError(f"{what} has more than {MAX_LINES} lines", check="E_LIMIT")
    if not data.endswith(b"\n"):
        raise _error(f"{what} is not canonical JSON Lines: the last line does not end in a newline")
    lines = data[:-1].split(b"\n")
    return [
        parse_canonical(line, what=f"{what}, line {number}") for number, line in enumerate(lines, start=1)
    ]


def decode_base64(text: str) -> bytes | None:
    """Decode base64 in its one canonical spelling (RFC 4648 4, 3.5); None for any other text."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode("ascii") == text else None


def round6(x: float) -> float:
    """Round to 6 decimals, the precision in which scores are signed; there is no negative zero."""
    return round(float(x), 6) + 0.0


def _check_value(value: Any, *, depth: int, max_depth: int | None = None) -> None:
    """Refuse what RFC 8785 would write but no strict reader would read back."""
    if max_depth is not None and depth > max_depth:
        raise rfc8785.CanonicalizationError(f"nested more than {max_depth} deep")
    if isinstance(value, dict):
        for item in value.values():
            _check_value(item, depth=depth + 1, max_depth=max_depth)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_value(item, depth=depth + 1, max_depth=max_depth)
    elif isinstance(value, float) and _LARGEST_INTEGER < abs(value) < _PLAIN_BELOW:
        raise rfc8785.CanonicalizationError(f"the whole number {value!r} is not below 2^53")


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object whose names are unique (RFC 7493 2.3). Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        double = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {double[:80]!r} occurs twice")
    return found


def _integer(text: str) -> int:
    """Read a whole number in the range every reader keeps exact."""
    if len(text) > len("-9007199254740991") or abs(int(text)) > _LARGEST_INTEGER:
        raise ValueError(f"the whole number {text[:40]} is not below 2^53")
    return int(text)


def _number(text: str) -> float:
    """Read a number that is finite."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _constant(text: str) -> NoReturn:
    """Refuse NaN and the infinities."""
    raise ValueError(f"{text} is not JSON")


def _reason(err: Exception) -> str:
    return "it is nested too deeply" if isinstance(err, RecursionError) else str(err)[:200]


def _parting(spelled: bytes, data: bytes) -> int:
    """Index of the first byte in which two spellings differ."""
    pairs = zip(spelled, data, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(spelled), len(data)))


def _error(message: str) -> ArtifactError:
    return ArtifactError(message, check="E_JSON_CANONICAL", hint=_HINT)

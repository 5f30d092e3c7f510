"""How a report writes numbers: fixed decimals, thin spaces, decimal units, and a word for what is missing."""

from collections.abc import Sequence

MISSING = "missing"


def number(value: float | None, digits: int = 3) -> str:
    """Write a measured number, or say that it is missing."""
    return MISSING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign."""
    return MISSING if value is None else f"{value:+.{digits}f}".replace("-", "\u2212")


def span(interval: Sequence[float] | None, digits: int = 3) -> str:
    """Write an interval as `low to high`; nothing where there is none."""
    if interval is None:
        return ""
    return " to ".join(f"{bound:.{digits}f}".replace("-", "\u2212") for bound in interval)


def probability(value: float | None) -> str:
    """Write a p-value; stored p-values have six decimals, so 0 means below a millionth."""
    if value is None:
        return MISSING
    return "below 0.000001" if value == 0 else f"{value:.2g}"


def count(value: int) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u2009")


def size(value: int | None) -> str:
    """Write a size in bytes with a decimal unit."""
    if value is None:
        return MISSING
    amount = float(value)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def duration(ns: float | None) -> str:
    """Write nanoseconds as milliseconds, seconds, minutes or hours."""
    if ns is None:
        return MISSING
    seconds = ns / 1e9
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

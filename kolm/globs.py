"""Module patterns: short lists that stand for exact lists of parameter names.

A pattern matches a name if, after expanding `*` (one or more characters, dots included), it equals
the name or a dotted prefix of it (specs/formats/modules.md 3). There is no other wildcard.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

_DEPTH = 2
"""Patterns are never shorter than this many components where the names allow it,
so that a list says `visual.merger` and not just `visual`."""


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    first, *rest = (re.escape(piece) for piece in pattern.split("*"))
    # Atomic: the first place where an inner piece fits is as good as any later one, so a hostile
    # pattern costs its length times the name's, never more.
    inner = "".join(rf"(?>.+?{piece})" for piece in rest[:-1])
    last = f".+?{rest[-1]}" if rest else ""
    return re.compile(rf"{first}{inner}{last}(?:\..+)?", re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Return whether `pattern` covers `name`."""
    return _compiled(pattern).fullmatch(name) is not None


def expand(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names that at least one pattern covers, in the order of `names`."""
    tests = [_compiled(pattern) for pattern in patterns]
    return [name for name in names if any(test.fullmatch(name) for test in tests)]


def summarise(frozen: Sequence[str], trainable: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return two short pattern lists that expand to exactly these two disjoint lists.

    Expanding either result over all names gives its own list back, and no pattern touches the other
    list. Patterns stand in the order in which their first name appears.
    """
    return _patterns(frozen, trainable), _patterns(trainable, frozen)


def _patterns(own: Sequence[str], other: Sequence[str]) -> list[str]:
    taken = _prefixes(other)
    stems = list(dict.fromkeys(_stem(name, taken) for name in own))
    return _merge(stems, other)


def _prefixes(names: Sequence[str]) -> set[str]:
    """Every dotted prefix of every name, the names themselves included."""
    return {name[: match.start()] for name in names for match in re.finditer(r"\.|$", name)}


def _stem(name: str, taken: set[str]) -> str:
    """The shortest dotted prefix of `name`, of at least `_DEPTH` components, that `taken` does not hold.

    A block of a numbered list keeps its number, so that `_merge` can turn it into `*`.
    """
    pieces = name.split(".")
    for length in range(min(_DEPTH, len(pieces)), len(pieces) + 1):
        stem = ".".join(pieces[:length])
        numbered = length < len(pieces) and pieces[length].isdigit()
        if stem not in taken and not numbered:
            return stem
    return name


def _merge(stems: Sequence[str], other: Sequence[str]) -> list[str]:
    """Replace numbers by `*` where the wider pattern still covers no name of `other`."""
    widened = {stem: re.sub(r"(?<=\.)\d+(?=\.|$)", "*", stem) for stem in stems}
    unsafe = {wide for wide in set(widened.values()) if any(matches(wide, name) for name in other)}
    return list(dict.fromkeys(stem if wide in unsafe else wide for stem, wide in widened.items()))

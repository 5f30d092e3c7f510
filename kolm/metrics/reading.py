"""Reading an answer out of a raw output: the stage before every metric, stored beside the score.

Each reader returns the answer as text, or None when there is nothing that the metric could compare.
Nothing is guessed: an answer outside its declared form counts as wrong.
"""

import itertools
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from kolm.metrics.places import SCALES

_FENCE = re.compile(r"```[a-zA-Z]*\n(.*?)```", re.DOTALL)
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"
_GROUP = re.compile(rf"[\[(]\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*[\])]")
_MAX_JSON = 1 << 20
MAX_DEPTH = 64
"""Most objects and lists inside each other that are read: comparing calls itself for each."""
_MOST_TRIES = 64
"""Opening brackets that are tried: a hostile answer must not cost time with the square of its length."""


def whole(raw: str) -> str | None:
    """Take the whole output, NFC, without the white space around it."""
    return unicodedata.normalize("NFC", raw).strip() or None


def json_strict(raw: str) -> str | None:
    """Take the output if all of it is one JSON value (RFC 8259), written without spaces."""
    return _canonical(raw)


def json_repaired(raw: str) -> str | None:
    """Take the first JSON object or array in the output, a Markdown fence and words around it aside."""
    fenced = _FENCE.search(raw)
    text = fenced.group(1) if fenced else raw
    whole_value = _canonical(text)
    if whole_value is not None:
        return whole_value
    decoder = json.JSONDecoder(parse_constant=_refuse)
    openings = re.finditer(r"[\[{]", text[:_MAX_JSON])
    for match in itertools.islice(openings, _MOST_TRIES):
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except RecursionError:
            return None
        except ValueError:
            continue
        return _written(value)
    return None


def box(scale: str) -> Callable[[str], str | None]:
    """Return a reader of one box `x1,y1,x2,y2` whose numbers lie in the range of `scale`."""
    return lambda raw: _numbers(raw, (4,), limit=SCALES[scale])


def point(scale: str) -> Callable[[str], str | None]:
    """Return a reader of one point `x,y`, or of a box that stands for its centre."""
    return lambda raw: _numbers(raw, (2, 4), limit=SCALES[scale])


def _numbers(raw: str, counts: tuple[int, ...], *, limit: float | None) -> str | None:
    """Take the one bracketed group of numbers; two different groups, or none, are no answer."""
    groups = {tuple(float(n) for n in match.group(1).split(",")) for match in _GROUP.finditer(raw)}
    if len(groups) != 1:
        return None
    numbers = groups.pop()
    if len(numbers) not in counts or any(n < 0 or (limit is not None and n > limit) for n in numbers):
        return None
    return ",".join(f"{n:g}" if n == round(n, 4) else repr(n) for n in numbers)


def _canonical(text: str) -> str | None:
    if len(text) > _MAX_JSON:
        return None
    try:
        return _written(json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return None


def depth(value: Any) -> int:
    """Return how many levels a JSON value has, 1 for a scalar."""
    levels, level = 0, [value]
    while level:
        levels += 1
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return levels


def _written(value: Any) -> str | None:
    if depth(value) > MAX_DEPTH:
        return None
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")

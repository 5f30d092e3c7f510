"""Two JSON answers field by field: what the right answer says, what each model said."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kolm.scorecard import Output

METRICS = ("anls-star@", "cord-ted@", "field-f1@")
"""Metrics whose accepted answer is a JSON value to compare with; for validity it is a schema."""

MOST = 40
"""Most fields that are shown of an answer."""

LONGEST = 120
"""Most characters that are shown of a name or a value."""

DEEPEST = 24
"""Levels that are opened; below, a value is shown whole."""


@dataclass(frozen=True)
class Field:
    """One field; None where an answer does not have it."""

    path: str
    gold: str | None
    base: str | None
    tuned: str | None

    @property
    def changed(self) -> bool:
        """Whether the tuned model said something else than the right answer."""
        return self.gold != self.tuned


def fields(metric_id: str, *, gold: str, outputs: Mapping[Any, Output]) -> list[Field]:
    """Return the fields of the right answer, then those that only a model has; those that differ first.

    Empty for metrics that do not compare JSON values.
    """
    if not metric_id.startswith(METRICS):
        return []
    wanted = _flat(gold)
    said = {model: _flat(outputs[model].extracted) for model in ("base", "tuned") if model in outputs}
    base, tuned = said.get("base", {}), said.get("tuned", {})
    paths = list(dict.fromkeys([*wanted, *tuned, *base]))
    found = [Field(path, wanted.get(path), base.get(path), tuned.get(path)) for path in paths]
    return sorted(found, key=lambda field: not field.changed)[:MOST]


def _flat(text: str | None) -> dict[str, str]:
    """Return the leaves of a JSON text by their paths; of anything else none."""
    try:
        value = json.loads(text or "null")
    except (ValueError, RecursionError):
        return {}
    return {} if value is None else dict(_leaves(value, "", DEEPEST))


def _leaves(value: Any, path: str, levels: int) -> Iterator[tuple[str, str]]:
    inside: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inside = [(f"{path}.{key}" if path else str(key), child) for key, child in value.items()]
    elif isinstance(value, list):
        inside = [(f"{path}[{place}]", child) for place, child in enumerate(value)]
    if not inside or not levels:
        yield _short(path or "(all)"), _short(value if isinstance(value, str) else json.dumps(value))
        return
    for name, child in inside:
        yield from _leaves(child, name, levels - 1)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

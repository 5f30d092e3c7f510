"""JSON answers as trees: ANLS*, tree edit accuracy, field F1, and validity against a schema.

Answers arrive as JSON text (`kolm.metrics.reading`); the accepted answer of a row is JSON text too, and
for validity it is the JSON Schema itself.
"""

import json
from collections import Counter
from typing import Any

from kolm.errors import DataError
from kolm.metrics.reading import MAX_DEPTH, depth

MAX_NODES = 2_000
"""Most nodes of a tree that is compared: tree edit distance takes time with their square."""


def anls_star(answer: str, gold: str) -> float:
    """Return ANLS* (arXiv:2402.03848) by the authors' package; half a wrong string still scores a half."""
    from anls_star import anls_score

    score: Any = anls_score(_gold(gold), _small(json.loads(answer)))
    return float(score)


def cord_ted(answer: str, gold: str) -> float:
    """Return the normalised tree edit accuracy of CORD (Donut, arXiv:2111.15664, section 3.2).

    `max(0, 1 - TED(answer, gold) / TED(nothing, gold))`; a leaf costs its length, any other node 1.
    """
    wanted = _tree("<root>", _gold(gold))
    nothing = _distance(_tree("<root>", {}), wanted)
    found = json.loads(answer)
    if _count(found) > MAX_NODES:
        return 0.0
    if nothing == 0:
        return float(_distance(_tree("<root>", found), wanted) == 0)
    return max(0.0, 1 - _distance(_tree("<root>", found), wanted) / nothing)


def field_f1(answer: str, gold: str) -> float:
    """Return the F1 of (key path, value) pairs, counted with repetition; positions in lists do not count."""
    wanted, found = Counter(_fields(_gold(gold))), Counter(_fields(json.loads(answer)))
    right = (wanted & found).total()
    either = wanted.total() + found.total()
    return 2 * right / either if either else 1.0


def valid(answer: str, schema: str) -> float:
    """Return 1 if the answer is valid under a JSON Schema (Draft 2020-12 unless it says otherwise).

    Nothing outside the schema is looked up: a reference that leads out of it would be fetched otherwise.
    """
    import jsonschema
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    declared = _gold(schema)
    try:
        validator = validator_for(declared, default=jsonschema.Draft202012Validator)
        validator.check_schema(declared)
    except (jsonschema.SchemaError, TypeError, AttributeError) as err:
        raise DataError("the accepted answer is not a JSON Schema", hint="gold is the schema") from err
    try:
        return float(validator(declared, registry=Registry()).is_valid(json.loads(answer)))
    except (Unresolvable, RecursionError) as err:
        raise DataError(
            "the accepted answer, a JSON Schema, refers to what is not in it, or to itself without end",
            hint="references start with # and name a part of the schema",
        ) from err


def _gold(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise DataError(f"the accepted answer is not JSON: {text[:40]!r}", hint="write JSON text") from err
    if depth(value) > MAX_DEPTH:
        raise DataError(
            f"the accepted answer has more than {MAX_DEPTH} levels", hint="an answer that deep is never read"
        )
    return value


def _small(value: Any) -> Any:
    """An answer too large to compare is as good as none."""
    return value if _count(value) <= MAX_NODES else None


def _count(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(_count(child) for child in children)


def _fields(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, child in value.items() for pair in _fields(child, f"{path}.{key}")]
    if isinstance(value, list):
        return [pair for child in value for pair in _fields(child, path)]
    return [(path, _leaf(value))]


def _leaf(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _tree(label: str, value: Any) -> Any:
    """Return a JSON value as the ordered tree of Donut's evaluation.

    Keys are sorted by length, then name; each object below a key is a `<subtree>`, each scalar a leaf;
    null, empty strings and empty containers leave nothing behind.
    """
    from zss import Node

    node = Node(label)
    if isinstance(value, dict):
        for key in sorted(value, key=lambda name: (len(name), name)):
            child = _tree(key, value[key] if isinstance(value[key], list) else [value[key]])
            if child.children:
                node.addkid(child)
        return node
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict | list):
            child = _tree("<subtree>", item)
            if child.children:
                node.addkid(child)
        elif item is not None and _leaf(item):
            node.addkid(Node(f"<leaf>{_leaf(item)}"))
    return node


def _distance(a: Any, b: Any) -> float:
    import zss

    return float(
        zss.distance(
            a,
            b,
            get_children=zss.Node.get_children,
            insert_cost=_cost,
            remove_cost=_cost,
            update_cost=_update,
        )
    )


def _cost(node: Any) -> int:
    return len(node.label) - len("<leaf>") if node.label.startswith("<leaf>") else 1


def _update(a: Any, b: Any) -> int:
    """Renaming costs 1; a leaf becomes another leaf by its edits, and another kind of node by both costs."""
    from rapidfuzz.distance import Levenshtein

    leaves = [node.label.startswith("<leaf>") for node in (a, b)]
    if all(leaves):
        return int(Levenshtein.distance(a.label, b.label))
    return _cost(a) + _cost(b) if any(leaves) else int(a.label != b.label)

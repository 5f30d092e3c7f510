"""pydantic's refusals in the words of someone who edits a spec.

pydantic says `Input should be a valid integer`; a reader wants the key, what was expected, what was
found, and the name that was probably meant.
"""

import difflib
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from kolm.yamldoc import KeyPath, Mistake

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def mistakes_in(err: ValidationError, model: type[BaseModel]) -> list[Mistake]:
    """List what a validation error says, one entry per mistake, with the nearest known names."""
    return [_mistake(dict(detail), model) for detail in err.errors(include_url=False)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that `word` most resembles, or None."""
    names = list(known)
    lowered = {name.lower().replace("-", "_"): name for name in names}
    wanted = word.lower().replace("-", "_")
    close = difflib.get_close_matches(wanted, lowered, n=1, cutoff=0.6)
    if close:
        return lowered[close[0]]
    return next((name for name in names if len(wanted) > 3 and wanted in name.lower()), None)


def show(value: object) -> str:
    """Name a value in an error message, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _mistake(detail: dict[str, Any], model: type[BaseModel]) -> Mistake:
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    kind: str = detail["type"]
    ctx: dict[str, Any] = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, model)
    if kind == "missing":
        return Mistake(path, f"missing key `{path[-1]}`{_inside(path[:-1])}", on_key=True)
    if kind == "contradiction":
        return Mistake((*path, *ctx["at"]), str(ctx["text"]))
    found = show(detail["input"])
    if isinstance(detail["input"], str) and kind in _EXPECTED:
        found = f"the text {found}"
    return Mistake(
        path, f"{_label(path)} must be {_wanted(kind, ctx, detail['msg'])}, found {found}", _near(detail)
    )


def _label(path: KeyPath) -> str:
    """Name a value by its last key, with its position if it stands in a list."""
    if path and isinstance(path[-1], int):
        return f"item {path[-1] + 1} of {_label(path[:-1])}"
    return f"`{path[-1]}`" if path else "the file"


def _wanted(kind: str, ctx: dict[str, Any], message: str) -> str:
    """Say what was expected, completing the phrase `must be`."""
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {ctx[name]:g}"
    if kind == "literal_error":
        return f"one of {ctx['expected'].replace(chr(39), '`')}"
    if kind == "string_pattern_mismatch":
        return f"of the form {ctx['pattern']}"
    if kind in ("too_short", "string_too_short"):
        return "longer"
    return message


def _near(detail: dict[str, Any]) -> str:
    """Suggest the value that was probably meant."""
    if detail["type"] == "string_type" and isinstance(detail["input"], (int, float)):
        return "put it in quotes"
    if detail["type"] != "literal_error" or not isinstance(detail["input"], str):
        return ""
    allowed = [part.strip("' ") for part in detail["ctx"]["expected"].replace(" or ", ",").split(",")]
    close = nearest(detail["input"], allowed)
    return f"did you mean `{close}`?" if close else ""


def _unknown_key(path: KeyPath, model: type[BaseModel]) -> Mistake:
    """Report a key nobody knows, with the nearest sibling or the section that has it."""
    key = str(path[-1])
    siblings = _keys_at(model, path[:-1])
    close = nearest(key, siblings)
    if close is None:
        close = next((dotted for dotted in _all_keys(model) if dotted.rpartition(".")[2] == key), None)
    note = f"did you mean `{close}`?" if close else ""
    return Mistake(path, f"unknown key `{key}`{_inside(path[:-1])}", note, on_key=True)


def _inside(path: KeyPath) -> str:
    return f" in `{'.'.join(map(str, path))}`" if path else ""


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Return the keys of the section at `path`."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = _section_of(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted path of every key of every section."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        found.append(prefix + name)
        inner = _section_of(field.annotation)
        if inner is not None:
            found += _all_keys(inner, f"{prefix}{name}.")
    return found


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Find the section class in an annotation such as `Parts` or `Quantization | None`."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None

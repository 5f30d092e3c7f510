"""LLaVA's JSON (arXiv:2304.08485): conversations of `human` and `gpt`, with `<image>` where a picture stands.

Only the conversation and its pictures are read; other members of a record are left out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apps.capture.sources.files import rows_of
from apps.capture.sources.record import Found, Pictures, Record, Sight, Source, each, field, named
from kolm.rows import refused

_PLACE = "<image>"
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def recognises(sight: Sight) -> bool:
    """Whether a file holds conversations."""
    return "conversations" in sight.columns


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the conversations of a file. Raises DataError."""
    return each(rows_of(path), lambda row: _record(row, pictures))


def _record(row: Mapping[str, Any], pictures: Pictures) -> Record:
    held = row.get("image") or row.get("images") or []
    shown = [pictures.of(item) for item in (held if isinstance(held, list) else [held])]
    turns = field(row, "conversations")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise refused("conversations is not a list of turns")
    places = sum(str(turn.get("value", "")).count(_PLACE) for turn in turns)
    if places != len(shown):
        raise refused(f"{places} times {_PLACE} in the text, and {len(shown)} pictures")
    waiting = iter(shown)
    messages = tuple(_turn(turn, waiting) for turn in turns)
    last = messages[-1]
    answers = (last["content"],) if isinstance(last["content"], str) else ()
    return Record(messages, answers, id=named(row.get("id")))


def _turn(turn: Mapping[str, Any], pictures: Iterator[Any]) -> dict[str, Any]:
    """Put each picture where its token stands; white space around the token belongs to it."""
    role, text = _ROLES.get(str(turn.get("from"))), turn.get("value")
    if role is None or not isinstance(text, str):
        raise refused("a turn has `from` (human or gpt) and `value`, a text")
    if _PLACE not in text:
        return {"role": role, "content": text}
    parts: list[dict[str, Any]] = []
    for number, piece in enumerate(text.split(_PLACE)):
        if number:
            parts.append({"type": "image", "image": next(pictures)})
        if piece.strip():
            parts.append({"type": "text", "text": piece.strip()})
    return {"role": role, "content": parts}


SOURCE = Source(
    name="llava",
    title="LLaVA conversations",
    metrics={"all": "exact@1"},
    recognises=recognises,
    records=records,
)

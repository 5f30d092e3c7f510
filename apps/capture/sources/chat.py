"""Conversations as the OpenAI chat interface takes them: JSON Lines with `messages`, pictures in `image_url`.

A picture is a data URL, or a path of a file beside the data. Nothing is fetched.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apps.capture.sources.files import rows_of
from apps.capture.sources.record import Found, Pictures, Record, Sight, Source, each, field, named
from kolm.rows import refused


def recognises(sight: Sight) -> bool:
    """Whether a file holds messages."""
    return "messages" in sight.columns


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the conversations of a file. Raises DataError."""
    return each(rows_of(path), lambda row: _record(row, pictures))


def _record(row: Mapping[str, Any], pictures: Pictures) -> Record:
    turns = field(row, "messages")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise refused("messages is not a list of turns")
    messages = tuple(_turn(turn, pictures) for turn in turns)
    last = messages[-1]["content"]
    told = last if isinstance(last, str) else "".join(str(part.get("text", "")) for part in last)
    return Record(messages, (told,), id=named(row.get("id")), group=named(row.get("group")))


def _turn(turn: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    role, content = turn.get("role"), turn.get("content")
    if "tool_calls" in turn or role in ("tool", "function"):
        raise refused("a call of a tool is neither a question nor an answer")
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return {"role": role, "content": [_part(part, pictures) for part in content]}
    if not isinstance(content, str):
        raise refused("a turn's content is neither text nor a list of parts")
    return {"role": role, "content": content}


def _part(part: Mapping[str, Any], pictures: Pictures) -> Mapping[str, Any]:
    match part:
        case {"type": "image_url", "image_url": {"url": source}} | {"type": "image_url", "image_url": source}:
            return {"type": "image", "image": pictures.of(source)}
    return part


SOURCE = Source(
    name="openai",
    title="OpenAI chat",
    metrics={"all": "exact@1"},
    recognises=recognises,
    records=records,
)

"""One training row: turns of a conversation, with pictures named by CID.

The canonical form, its rules and the shorthand are specs/formats/row.md; a row that breaks a rule ends in
a DataError whose message is the reason, without saying where the row came from: the reader knows that.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kolm.cid import CID, parse_cid
from kolm.errors import ArtifactError, DataError

ROLES = ("system", "user", "assistant")

IMAGE_TOKENS = (
    "<image>", "</image>", "<|image|>", "<|image_pad|>", "<|video_pad|>", "<|vision_pad|>",
    "<|vision_start|>", "<|vision_end|>", "<image_pad>", "<image_soft_token>", "<start_of_image>",
    "<end_of_image>", "<|begin_of_image|>", "<|end_of_image|>", "<image_token>", "<image_placeholder>",
    "<fake_token_around_image>", "<img>", "</img>", "<IMG_CONTEXT>", "[IMG]", "[IMG_BREAK]", "[IMG_END]",
    "<|endoftext10|>", "<|endoftext11|>",
    "<video>", "<|video|>", "<audio>", "<|audio|>", "<|AUDIO|>", "<audio_soft_token>",
)  # fmt: skip
"""Texts that a processor of some family reads as a place for features; none may stand in a row's text."""

_IMAGE_TOKEN = re.compile("|".join([r"<\|(?:image|audio)_\d+\|>", *map(re.escape, IMAGE_TOKENS)]))

MAX_TEXT = 1_000_000
"""Length of one text, in characters."""

_HINT = "specs/formats/row.md 3 lists what a row may hold"


@dataclass(frozen=True)
class ImagePart:
    """A picture, by the CID of its original bytes."""

    cid: CID


@dataclass(frozen=True)
class TextPart:
    """A piece of text."""

    text: str


Part = ImagePart | TextPart


@dataclass(frozen=True)
class Turn:
    """What one side says; every assistant turn is supervised."""

    role: str
    content: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All text of the turn, in order."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True)
class Example:
    """One training row in canonical form."""

    id: str
    messages: tuple[Turn, ...]
    group: str
    """Rows of one group are never split between training and held-out data."""

    tags: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[CID, ...]:
        """CIDs of the row's pictures in the order they are shown."""
        parts = (part for turn in self.messages for part in turn.content)
        return tuple(part.cid for part in parts if isinstance(part, ImagePart))

    @property
    def response(self) -> str:
        """Text of the last assistant turn."""
        return self.messages[-1].text

    def to_json(self) -> dict[str, Any]:
        """Return the canonical row as JSON values."""
        messages = messages_json(self.messages)
        return {"id": self.id, "messages": messages, "group": self.group, "tags": list(self.tags)}

    @classmethod
    def from_json(cls, value: Any) -> "Example":
        """Read a canonical row; every member is required. Raises DataError."""
        if not isinstance(value, dict) or set(value) != {"id", "messages", "group", "tags"}:
            raise refused("a canonical row has exactly the members id, messages, group, tags")
        turns = value["messages"]
        if not isinstance(turns, list):
            raise refused("messages is not a list")
        messages = tuple(_turn(turn) for turn in turns)
        return cls(
            id=value["id"], messages=messages, group=value["group"], tags=_tags(value["tags"])
        ).checked()

    def checked(self) -> "Example":
        """Return the row if it keeps every rule of specs/formats/row.md 3. Raises DataError."""
        check_name(self.id, what="id", limit=128)
        check_name(self.group, what="group", limit=256)
        for tag in self.tags:
            check_name(tag, what="tag", limit=128)
        for turn in self.messages:
            _check_turn(turn)
        _check_order([turn.role for turn in self.messages])
        return self


def messages_json(messages: tuple[Turn, ...]) -> list[dict[str, Any]]:
    """Return turns as JSON values, as the canonical row holds them."""
    return [{"role": turn.role, "content": [_part_json(part) for part in turn.content]} for turn in messages]


def refused(reason: str) -> DataError:
    """Make the error for a row that breaks a rule."""
    return DataError(reason, hint=_HINT)


def check_text(text: Any, *, what: str) -> str:
    """Return text that may stand in a row: Unicode, bounded, free of image tokens. Raises DataError."""
    if not isinstance(text, str):
        raise refused(f"{what} is not text but {type(text).__name__}")
    if len(text) > MAX_TEXT:
        raise refused(f"{what} has {len(text)} characters, at most {MAX_TEXT} are read")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as err:
        raise refused(f"{what} is not Unicode text: it holds half of a surrogate pair") from err
    token = _IMAGE_TOKEN.search(text)
    if token:
        raise refused(
            f"{what} holds the literal image token {token.group()!r}, which a model reads as a picture"
        )
    return text


def check_name(value: Any, *, what: str, limit: int) -> str:
    """Return a short printable name. Raises DataError."""
    if not isinstance(value, str) or not value or len(value) > limit or not value.isprintable():
        raise refused(f"{what} is not 1 to {limit} printable characters")
    return value


def picture_cid(value: Any) -> CID:
    """Return the CID of a picture. Raises DataError."""
    if not isinstance(value, str):
        raise refused("an image part's cid is not text")
    try:
        return parse_cid(value)
    except ArtifactError as err:
        raise refused(f"an image part's cid is not a CID: {err.message}") from err


def _part_json(part: Part) -> dict[str, str]:
    if isinstance(part, ImagePart):
        return {"type": "image", "cid": part.cid}
    return {"type": "text", "text": part.text}


def _turn(value: Any) -> Turn:
    if (
        not isinstance(value, dict)
        or set(value) != {"role", "content"}
        or not isinstance(value["content"], list)
    ):
        raise refused("a turn has exactly the members role and content, and content is a list")
    return Turn(role=value["role"], content=tuple(_part(part) for part in value["content"]))


def _part(value: Any) -> Part:
    match value:
        case {"type": "image", "cid": cid} if len(value) == 2:
            return ImagePart(picture_cid(cid))
        case {"type": "text", "text": text} if len(value) == 2:
            return TextPart(text)
    raise refused("a content part is {type: image, cid} or {type: text, text}")


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise refused("tags is not a list")
    return tuple(value)


def _check_turn(turn: Turn) -> None:
    if turn.role not in ROLES:
        raise refused(f"unknown role {str(turn.role)[:40]!r}, known are {', '.join(ROLES)}")
    for part in turn.content:
        if isinstance(part, TextPart):
            check_text(part.text, what=f"the {turn.role}'s text")
        elif turn.role != "user":
            raise refused(f"an image in the {turn.role}'s turn: pictures belong to the user's turns")
    if turn.role == "assistant" and not turn.text.strip():
        raise refused("empty response")
    if not turn.text.strip() and not any(isinstance(part, ImagePart) for part in turn.content):
        raise refused(f"empty {turn.role} turn")


def _check_order(roles: list[str]) -> None:
    if "system" in roles[1:]:
        raise refused("a system turn stands after the first turn")
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if spoken[:1] != ["user"]:
        raise refused("the conversation does not begin with the user")
    if spoken[-1] != "assistant":
        raise refused("the last turn is not the assistant's")


def text_field(record: Mapping[str, Any], name: str) -> str:
    """Return a field that must hold text with at least one visible character. Raises DataError."""
    if name not in record or record[name] is None:
        raise refused(f"no {name}")
    text = check_text(record[name], what=name)
    if not text.strip():
        raise refused(f"empty {name}")
    return text

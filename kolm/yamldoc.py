"""YAML 1.2 documents in which every key and value knows its place in the file.

Only what a settings file needs is read: mappings with text keys, lists and plain values, resolved by
the core schema (YAML 1.2.2, 10.3.2), so `no` stays text and `1e-4` is a number. Aliases, tags, several
documents and deep nesting are refused, which also closes the door on alias bombs.
`ruamel.yaml` splits the text into events; everything after that is here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kolm.errors import KolmError, SpecError

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_LISTED = 10
MAX_LINE = 100

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top, `("train", "lora_targets", 2)`."""

_NULL = re.compile(r"(null|Null|NULL|~|)\Z")
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INF_NAN = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_MAX_DIGITS = 400  # longer runs of digits are not settings, and int() is quadratic in them


class Span(NamedTuple):
    """A stretch of the text, in characters from its start."""

    start: int
    end: int


class Mistake(NamedTuple):
    """One thing that is wrong: where, what, and the words that go beside the carets."""

    path: KeyPath
    message: str
    note: str = ""
    on_key: bool = False


@dataclass(frozen=True)
class YamlDocument:
    """A parsed document: its value, its text, and the spans of its keys and values."""

    name: str
    text: str
    value: Any
    keys: dict[KeyPath, Span] = field(repr=False)
    values: dict[KeyPath, Span] = field(repr=False)
    refusal: type[KolmError] = SpecError

    def locate(self, *path: str | int) -> str:
        """Return `file:line:column` of a value, or of its nearest parent when it is not in the file."""
        return _place(self.name, self.text, self.span(path).start)

    def span(self, path: KeyPath, *, on_key: bool = False) -> Span:
        """Find the characters of a value (or of its key), or of the nearest parent's key."""
        value = self.values.get(path)
        if not on_key and value is not None and value.end > value.start:
            return value
        for length in range(len(path), 0, -1):
            parent = path[:length]
            if parent in self.keys:
                return self.keys[parent]
            if parent in self.values and length == len(path):
                return self.values[parent]
        return Span(0, 0) if not self.keys else min(self.keys.values())

    def error(self, mistakes: list[Mistake], *, hint: str = "") -> KolmError:
        """Build one error that lists the mistakes, each with its line and carets, ten at most."""
        ordered = sorted(mistakes, key=lambda m: self.span(m.path, on_key=m.on_key))
        blocks = [
            excerpt(self.name, self.text, self.span(m.path, on_key=m.on_key), m.message, m.note)
            for m in ordered[:MAX_LISTED]
        ]
        if len(ordered) > MAX_LISTED:
            blocks.append(f"and {len(ordered) - MAX_LISTED} more")
        return self.refusal("\n\n".join(blocks), hint=hint)


def read_yaml(data: bytes, *, name: str, refusal: type[KolmError] = SpecError) -> YamlDocument:
    """Parse the bytes of a settings file into values with places. Raises `refusal`."""
    text = _decode(data, name, refusal)
    reader = _Reader(name, text, refusal)
    value = reader.document()
    return YamlDocument(name, text, value, reader.keys, reader.values, refusal)


def excerpt(name: str, text: str, span: Span, message: str, note: str = "") -> str:
    """Show a mistake the way a compiler does: place, message, the line, carets under the words."""
    line, column = _line_column(text, span.start)
    first = text.rfind("\n", 0, span.start) + 1
    stop = text.find("\n", span.start)
    source = text[first : stop if stop >= 0 else len(text)].replace("\t", " ")
    skipped = max(0, column - 1 - MAX_LINE // 2)
    shown = source[skipped : skipped + MAX_LINE]
    offset = column - 1 - skipped
    width = max(1, min(span.end - span.start, len(shown) - offset))
    gutter = " " * len(str(line))
    carets = " " * offset + "^" * width + (f" {note}" if note else "")
    head = f"{_place(name, text, span.start)}: {message}"
    return f"{head}\n {gutter} |\n {line} | {shown}\n {gutter} | {carets}"


def _decode(data: bytes, name: str, refusal: type[KolmError]) -> str:
    """Turn bytes into text; a byte order mark is dropped."""
    if len(data) > MAX_BYTES:
        raise refusal(
            f"{name}: {len(data):,} bytes is more than a settings file may have", hint="1 MB at most"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise refusal(f"{name}:{line}: byte {err.start} is not UTF-8", hint="save the file as UTF-8") from err
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line_column(text: str, index: int) -> tuple[int, int]:
    """Count lines and columns from 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _place(name: str, text: str, index: int) -> str:
    line, column = _line_column(text, index)
    return f"{name}:{line}:{column}"


class _Reader:
    """Builds values from the event stream and remembers where each began."""

    def __init__(self, name: str, text: str, refusal: type[KolmError]) -> None:
        self.name, self.text, self.refusal = name, text, refusal
        self.keys: dict[KeyPath, Span] = {}
        self.values: dict[KeyPath, Span] = {}

    def document(self) -> Any:
        """Read the only document of the stream, a mapping."""
        events = self._events()
        event = next(events)
        if type(event).__name__ == "StreamEndEvent":
            raise self.refusal(
                f"{self.name}: the file is empty", hint="`kolm init --demo digits DIR` writes one"
            )
        if type(event).__name__ != "MappingStartEvent":
            raise self._fail(event, "expected keys and values at the top, such as `kolm: 1`")
        value = self._value(event, events, ())
        after = next(events)
        if type(after).__name__ != "StreamEndEvent":
            raise self._fail(after, "a second document starts here", "one document per file")
        return value

    def _events(self) -> Iterator[Any]:
        """Yield events after the start of the stream, without the brackets of the first document."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                kind = type(event).__name__
                if kind == "DocumentStartEvent" and event.version not in (None, (1, 2)):
                    raise self._fail(event, "only YAML 1.2 is read", "remove the %YAML line")
                if kind not in ("StreamStartEvent", "DocumentStartEvent", "DocumentEndEvent"):
                    yield event
        except MarkedYAMLError as err:
            raise self._syntax(err) from err
        except YAMLError as err:
            raise self.refusal(f"{self.name}: {err}", hint="remove the control characters") from err

    def _syntax(self, err: Any) -> KolmError:
        """Say what ruamel could not read, with the place it stopped at."""
        mark = err.problem_mark or err.context_mark
        if mark and mark.index >= len(self.text.rstrip()) and err.context_mark:
            mark = err.context_mark  # it ran to the end: where it was opened says more
        index = min(mark.index if mark else 0, len(self.text))
        note = "tabs do not indent in YAML: use spaces" if self.text[index : index + 1] == "\t" else ""
        message = f"not YAML: {err.problem or err.context}"
        return self.refusal(
            excerpt(self.name, self.text, Span(index, index + 1), message, note),
            hint="a value that holds `: `, `#`, `@` or starts with a bracket needs quotes",
        )

    def _value(self, event: Any, events: Iterator[Any], path: KeyPath) -> Any:
        """Read one value; collections recurse, at most MAX_DEPTH deep."""
        kind = type(event).__name__
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise self._fail(event, "anchors and aliases are not read", "write the value out")
        if getattr(event, "ctag", None) is not None and str(event.ctag) not in ("", "None"):
            raise self._fail(event, "tags are not read", "write the plain value")
        if len(path) > MAX_DEPTH:
            raise self._fail(event, f"nested more than {MAX_DEPTH} levels deep")
        self.values[path] = Span(event.start_mark.index, event.end_mark.index)
        if kind == "MappingStartEvent":
            return self._mapping(events, path)
        if kind == "SequenceStartEvent":
            return self._sequence(events, path)
        return self._scalar(event)

    def _mapping(self, events: Iterator[Any], path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := next(events)).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent" or event.anchor:
                raise self._fail(event, "a key must be plain text")
            key = event.value
            where = (*path, key)
            if key in found:
                first, _ = _line_column(self.text, self.keys[where].start)
                raise self._fail(event, f"key `{key}` is given twice", f"first on line {first}")
            self.keys[where] = Span(event.start_mark.index, event.end_mark.index)
            found[key] = self._value(next(events), events, where)
        return found

    def _sequence(self, events: Iterator[Any], path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while type(event := next(events)).__name__ != "SequenceEndEvent":
            found.append(self._value(event, events, (*path, len(found))))
        return found

    def _scalar(self, event: Any) -> Any:
        """Resolve a plain scalar by the core schema; quoted and block scalars are text."""
        text: str = event.value
        if not event.implicit[0] or len(text) > _MAX_DIGITS:
            return text
        if _NULL.match(text):
            return None
        if _BOOL.match(text):
            return text.lower() == "true"
        if _INT.match(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.match(text):
            return float(text)
        if _INF_NAN.match(text):
            return float(text.replace(".", "").lower())
        return text

    def _fail(self, event: Any, message: str, note: str = "") -> KolmError:
        span = Span(event.start_mark.index, max(event.end_mark.index, event.start_mark.index + 1))
        hint = "one YAML 1.2 document: keys with text, numbers, true, false, lists or further keys"
        return self.refusal(excerpt(self.name, self.text, span, message, note), hint=hint)

"""Eval packs made from what is at hand: published data sets, and rows held out of the capture store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.capture.sources import AUTO, Pictures, Record, Source, folder_of, source_of
from apps.capture.store import CaptureStore
from kolm.errors import DataError, SpecError
from kolm.files import new_folder
from kolm.gallery import Gallery
from kolm.metrics import get_metric
from kolm.pack import EvalPack, PackRow, pack_of, write_pack
from kolm.pack.model import Head, checked, head_of, yaml_of
from kolm.pairs import Refusal, example_of, told
from kolm.rows import Example, ImagePart, TextPart, Turn, refused

_HINT = "fix these rows, or leave them out with --partial"


@dataclass(frozen=True)
class Wish:
    """What is wanted of a data set."""

    format: str = AUTO
    images: Path | None = None
    """Folder of the pictures; without it they are relative to the file."""
    metric: str | None = None
    """Scores every slice, instead of the source's own metric."""
    limit: int | None = None
    """First rows that are taken."""
    slice: str | None = None
    """The only slice that is taken."""
    prompt: str | None = None
    """What is asked where the source has no question."""
    partial: bool = False
    """Whether refused rows are left out; otherwise there is no pack."""


@dataclass(frozen=True)
class Made:
    """A pack that was written, and the rows of its source that are not in it."""

    pack: EvalPack
    source: Source
    path: Path
    refusals: tuple[Refusal, ...]


def import_pack(path: Path, directory: Path, wish: Wish) -> Made:
    """Read a data set and write it as an eval pack to a folder that is not there yet.

    Raises DataError naming the refused rows by number and reason, SpecError, StorageError.
    """
    source = source_of(path, name=wish.format)
    metrics = _metrics(source, wish)
    gallery = Gallery(root=Path())
    name = (path.resolve().stem or source.name)[:128]
    reader = _Reader(head_of(yaml_of(name=name, metrics=metrics), name="pack.yaml"), gallery)
    with new_folder(directory) as draft:
        for number, record in _wanted(path, source, wish):
            reader.take(number, record)
            if len(reader.rows) == wish.limit:
                break
        if reader.refusals and not (wish.partial and reader.rows):
            raise DataError(f"{path}: {told(reader.refusals)}", hint=_HINT)
        rows = list(reader.rows.values())
        seen = {row.slice for row in rows}
        scored = {slice_: metric for slice_, metric in metrics.items() if slice_ in seen}
        grouped = bool(rows) and all(row.group is not None for row in rows)
        if not rows:
            raise DataError(f"{path} holds no rows to ask", hint="is it the file that you meant?")
        pack = pack_of(
            name=name, rows=rows, gallery=gallery, metrics=scored, cluster="group" if grouped else "image"
        )
        write_pack(pack, draft)
    return Made(pack, source, directory / "pack.yaml", tuple(reader.refusals))


def write_eval_pack(store: CaptureStore, examples: Sequence[Example], directory: Path, *, name: str) -> Path:
    """Write held-out rows as an eval pack with exact match, and return its pack.yaml.

    A row becomes one question, so it has one user and one assistant turn. Raises DataError naming the
    first row that has not, SpecError for a folder that holds something, StorageError.
    """
    with new_folder(directory) as draft:
        rows = tuple(_held_out(example) for example in examples)
        write_pack(pack_of(name=name, rows=rows, gallery=store.gallery(examples)), draft)
    return directory / "pack.yaml"


class _Reader:
    """Collects the rows of a pack, and the reasons why some records are none."""

    def __init__(self, head: Head, gallery: Gallery) -> None:
        self._head, self._gallery = head, gallery
        self.rows: dict[str, PackRow] = {}
        self.refusals: list[Refusal] = []

    def take(self, number: int, record: Record | DataError) -> None:
        """Turn one record into a row, or note why it is none."""
        try:
            if isinstance(record, DataError):
                raise record
            example = example_of(record.pair(), number=number, gallery=self._gallery)
            row = checked(_question(example, record), self._head)
            get_metric(self._head.slices[row.slice].metric).check(row.gold)
            if row.id in self.rows:
                raise refused(f"its id {row.id!r} is that of another row")
            self.rows[row.id] = row
        except DataError as err:
            self.refusals.append(Refusal(number, err.message))


def _wanted(path: Path, source: Source, wish: Wish) -> Iterator[tuple[int, Record | DataError]]:
    if wish.images is not None and not wish.images.is_dir():
        raise SpecError(f"no folder at {wish.images}", hint="--images names the folder of the pictures")
    pictures = Pictures(wish.images or folder_of(path))
    for number, record in source.records(path, pictures, wish.prompt or source.prompt):
        if wish.slice is None or isinstance(record, DataError) or record.slice == wish.slice:
            yield number, record


def _metrics(source: Source, wish: Wish) -> dict[str, str]:
    """Return the metric of each slice that may come. Raises SpecError."""
    if wish.slice is not None and wish.slice not in source.metrics:
        raise SpecError(
            f"{source.title} has no slice {wish.slice!r}", hint=f"its slices: {', '.join(source.metrics)}"
        )
    if wish.prompt is not None and not source.prompt:
        raise SpecError(f"{source.title} has questions of its own", hint="leave --prompt out")
    return {slice_: get_metric(wish.metric or metric).id for slice_, metric in source.metrics.items()}


def _question(example: Example, record: Record) -> PackRow:
    """Return the one question of a conversation; a system turn's text goes before it. Raises DataError."""
    *system, asked, _ = example.messages
    if [turn.role for turn in system] not in ([], ["system"]):
        raise refused(f"{len(example.messages)} turns: a pack row is one question and one answer")
    prompt = "\n\n".join([*(turn.text for turn in system), _text(asked)])
    return PackRow(example.id, example.images, prompt, record.answers, record.slice, record.group)


def _text(turn: Turn) -> str:
    """Return the text of a turn whose pictures can all be shown before it. Raises DataError."""
    kinds = [type(part) for part in turn.content]
    first, last = (
        (kinds.index(TextPart), len(kinds) - kinds[::-1].index(TextPart)) if TextPart in kinds else (0, 0)
    )
    if ImagePart in kinds[first:last]:
        raise refused("a picture between two texts: a pack row shows its pictures before the question")
    return turn.text


def _held_out(example: Example) -> PackRow:
    if [turn.role for turn in example.messages] != ["user", "assistant"]:
        raise DataError(
            f"row {example.id} is not one question and one answer, so a pack cannot hold it",
            hint="freeze it without --pack",
        )
    prompt, answer = (turn.text for turn in example.messages)
    default = example.group in {example.id, *example.images}  # a row's number is no group beyond its file
    group = None if default else example.group
    return PackRow(example.id, example.images, prompt, (answer,), "all", group)

"""TextVQA (arXiv:1904.08920): questions about text in photographs, with ten people's answers.

Read are the authors' JSON (`{data: [{question_id, image_id, question, answers}]}`, pictures called by their
image_id) and Parquet tables that hold the picture in `image`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apps.capture.sources.files import rows_of
from apps.capture.sources.record import (
    Found,
    Pictures,
    Record,
    Sight,
    Source,
    each,
    field,
    group_in,
    named,
    question,
)

_COLUMNS = {"question_id", "image_id", "question"}
_FOLDERS = ("", "train_images/", "test_images/")


def recognises(sight: Sight) -> bool:
    """Whether a file has TextVQA's columns and not VQA v2's."""
    return "questions" not in sight.top and sight.columns >= _COLUMNS and "answer_type" not in sight.columns


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the questions of a file. Raises DataError."""
    return each(rows_of(path), lambda row: _record(row, pictures))


def _record(row: Mapping[str, Any], pictures: Pictures) -> Record:
    image = named(field(row, "image_id"))
    held = row.get("image")
    names = [f"{folder}{image}.jpg" for folder in _FOLDERS]
    return question(
        field(row, "question"),
        [pictures.of(held) if held is not None else pictures.file(*names)],
        row.get("answers") or [],
        id=named(row.get("question_id")),
        group=group_in("textvqa", image),
    )


SOURCE = Source(
    name="textvqa",
    title="TextVQA",
    metrics={"all": "vqa@1"},
    recognises=recognises,
    records=records,
)

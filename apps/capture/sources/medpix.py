"""MedPix-VQA (mmoukouba/MedPix-VQA): questions about medical pictures, with one answer each.

Read are Parquet tables and JSON Lines with `question`, `answer` and the picture in `image_id`, as it is
published, or in `image` or `file_name`. Questions of one case are one group.
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
    question,
)

_PICTURE = ("image", "file_name", "image_id")


def recognises(sight: Sight) -> bool:
    """Whether a file has one question, one answer and a picture in each row."""
    return {"question", "answer"} <= sight.columns and bool(sight.columns & {*_PICTURE})


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the questions of a file. Raises DataError."""
    return each(rows_of(path), lambda row: _record(row, pictures))


def _record(row: Mapping[str, Any], pictures: Pictures) -> Record:
    shown = [pictures.of(field(row, *_PICTURE))]
    group = group_in("medpix", row.get("case_id"))
    return question(field(row, "question"), shown, [field(row, "answer")], group=group)


SOURCE = Source(
    name="medpix",
    title="MedPix-VQA",
    metrics={"all": "rouge-l@1"},
    recognises=recognises,
    records=records,
)

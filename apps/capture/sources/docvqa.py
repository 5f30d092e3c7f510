"""DocVQA (arXiv:2007.00398): questions about scanned pages, with all spellings of the answer.

Read are the authors' JSON (`{data: [{questionId, question, image, answers}]}`) and Parquet tables with the
same columns. Pages of one document are one group.
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


def recognises(sight: Sight) -> bool:
    """Whether a file has DocVQA's columns."""
    return {"questionId", "question", "image"} <= sight.columns


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the questions of a file. Raises DataError."""
    return each(rows_of(path), lambda row: _record(row, pictures))


def _record(row: Mapping[str, Any], pictures: Pictures) -> Record:
    image = field(row, "image")
    document = row.get("ucsf_document_id") or row.get("docId") or (image if isinstance(image, str) else None)
    return question(
        field(row, "question"),
        [pictures.of(image)],
        row.get("answers") or [],
        id=named(row.get("questionId")),
        group=group_in("docvqa", document),
    )


SOURCE = Source(
    name="docvqa",
    title="DocVQA",
    metrics={"all": "anls@1"},
    recognises=recognises,
    records=records,
)

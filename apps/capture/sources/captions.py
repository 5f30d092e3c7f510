"""Captions, as in RDR items (quintend/rdr-items): a picture and a text, without a question.

Read are Parquet tables (`image`, `text`) and a `metadata.jsonl` beside the pictures (`file_name`, `text`).
"""

from collections.abc import Iterator
from pathlib import Path

from apps.capture.sources.files import rows_of
from apps.capture.sources.record import Found, Pictures, Sight, Source, each, field, question


def recognises(sight: Sight) -> bool:
    """Whether a file has captions and no questions."""
    asked = {"question", "query", "prompt", "messages"} & sight.columns
    return "text" in sight.columns and bool({"image", "file_name"} & sight.columns) and not asked


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the captions of a file. Raises DataError."""
    return each(
        rows_of(path),
        lambda row: question(prompt, [pictures.of(field(row, "image", "file_name"))], [field(row, "text")]),
    )


SOURCE = Source(
    name="rdr",
    title="captions (RDR items)",
    metrics={"all": "rouge-l@1"},
    recognises=recognises,
    records=records,
    prompt="Describe this image.",
)

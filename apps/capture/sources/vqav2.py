"""VQA v2 (arXiv:1612.00837): questions about photographs, with ten people's answers.

Read are the authors' two JSON files, of which the questions are named and the annotations lie beside them,
and Parquet tables that hold both and the picture.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apps.capture.sources.files import listed, read_json, rows_of
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
from kolm.errors import DataError
from kolm.rows import refused

_SLICES = {"yes/no": "yes-no", "number": "number", "other": "other"}


def recognises(sight: Sight) -> bool:
    """Whether a file is VQA v2's questions, or a table with its columns."""
    return "questions" in sight.top or {"question_id", "question", "answer_type"} <= sight.columns


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the questions of a file. Raises DataError."""
    if path.is_dir() or path.suffix.lower() != ".json":
        return each(
            rows_of(path), lambda row: _record(row, row, pictures, [pictures.of(field(row, "image"))])
        )
    document = read_json(path)
    subtype = str(document.get("data_subtype", "")) if isinstance(document, dict) else ""
    notes = _annotations(path)
    return each(listed(document, "questions", path=path), lambda row: _joined(row, notes, pictures, subtype))


def _joined(
    row: Mapping[str, Any], notes: Mapping[str, Mapping[str, Any]], pictures: Pictures, subtype: str
) -> Record:
    note, image = notes.get(str(field(row, "question_id"))), field(row, "image_id")
    if note is None:
        raise refused(f"no annotation of question {row['question_id']}")
    if not isinstance(image, int):
        raise refused("image_id is not a number")
    name = f"COCO_{subtype}_{image:012d}.jpg"
    return _record(row, note, pictures, [pictures.file(name, f"{subtype}/{name}", f"{image}.jpg")])


def _record(row: Mapping[str, Any], note: Mapping[str, Any], pictures: Pictures, shown: list[Any]) -> Record:
    given = note.get("answers")
    answers = [
        item.get("answer") if isinstance(item, dict) else item
        for item in (given if isinstance(given, list) else [])
    ]
    slice_ = _SLICES.get(str(note.get("answer_type")))
    if slice_ is None:
        raise refused(f"answer_type is none of {', '.join(_SLICES)}")
    row_id, group = named(row.get("question_id")), group_in("coco", row.get("image_id"))
    return question(field(row, "question"), shown, answers, id=row_id, group=group, slice=slice_)


def _annotations(path: Path) -> dict[str, Mapping[str, Any]]:
    """Read the annotations beside the questions, by question id. Raises DataError when there are none."""
    wanted = (
        path.name.replace("OpenEnded_", "").replace("MultipleChoice_", "").replace("questions", "annotations")
    )
    beside = path.with_name(wanted)
    if beside == path or not beside.is_file():
        raise DataError(
            f"no {wanted} beside {path.name}", hint="the answers stand there; put both files into one folder"
        )
    notes = [row for _, row in listed(read_json(beside), "annotations", path=beside) if isinstance(row, dict)]
    return {str(note.get("question_id")): note for note in notes}


SOURCE = Source(
    name="vqav2",
    title="VQA v2",
    metrics=dict.fromkeys(_SLICES.values(), "vqa@1"),
    recognises=recognises,
    records=records,
)

"""ChartQA (arXiv:2203.10244): questions about charts, by people and by machine, with one answer each.

Read are the authors' JSON lists (`imgname`, `query`, `label`, pictures in `png/`) and Parquet tables with
`image`, `query`, `label` and `human_or_machine`.
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

_SIDES = {"0": "human", "1": "machine"}


def recognises(sight: Sight) -> bool:
    """Whether a file has ChartQA's columns."""
    return {"query", "label"} <= sight.columns and bool({"imgname", "image"} & sight.columns)


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the questions of a file. Raises DataError."""
    files = sorted(path.glob("*_human.json")) + sorted(path.glob("*_augmented.json")) if path.is_dir() else []
    number = 0
    for file in files or [path]:
        side = "machine" if file.stem.endswith("augmented") else "human" if files else _side(file)
        for _, found in each(rows_of(file), lambda row, side=side: _record(row, pictures, side)):
            number += 1
            yield number, found


def _side(file: Path) -> str:
    return "human" if file.stem.endswith("human") else "all"


def _record(row: Mapping[str, Any], pictures: Pictures, side: str) -> Record:
    asked, label = field(row, "query"), field(row, "label")
    answers = label if isinstance(label, list) else [label]
    if "imgname" in row:
        name = str(row["imgname"])
        shown = [pictures.file(f"png/{name}", name)]
        return question(asked, shown, answers, group=group_in("chartqa", name), slice=side)
    told = str(row.get("human_or_machine"))
    slice_ = _SIDES.get(told, told if told in _SIDES.values() else side)
    return question(asked, [pictures.of(field(row, "image"))], answers, slice=slice_)


SOURCE = Source(
    name="chartqa",
    title="ChartQA",
    metrics={"human": "relaxed@1", "machine": "relaxed@1", "all": "relaxed@1"},
    recognises=recognises,
    records=records,
)

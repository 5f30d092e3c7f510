"""CORD v2 and whatever is published like it (Donut, arXiv:2111.15664): pictures whose answer is a JSON tree.

Read are a `metadata.jsonl` beside the pictures (`file_name`, `ground_truth`) and Parquet tables (`image`,
`ground_truth`). `ground_truth` is JSON text that holds `gt_parse`, or a list `gt_parses`.
"""

import json
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
from kolm.rows import refused


def recognises(sight: Sight) -> bool:
    """Whether a file has a column `ground_truth`."""
    return "ground_truth" in sight.columns


def records(path: Path, pictures: Pictures, prompt: str) -> Iterator[Found]:
    """Yield the documents of a file. Raises DataError."""
    return each(rows_of(path), lambda row: _record(row, pictures, prompt))


def _record(row: Mapping[str, Any], pictures: Pictures, prompt: str) -> Record:
    truth = _truth(field(row, "ground_truth"))
    parses = truth["gt_parses"] if isinstance(truth.get("gt_parses"), list) else [field(truth, "gt_parse")]
    answers = [json.dumps(parse, ensure_ascii=False) for parse in parses]
    return question(prompt, [pictures.of(field(row, "image", "file_name"))], answers, group=_document(truth))


def _truth(text: Any) -> dict[str, Any]:
    try:
        truth = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError) as err:
        raise refused(f"ground_truth is not JSON: {err}") from err
    if not isinstance(truth, dict):
        raise refused("ground_truth is not a JSON object")
    return truth


def _document(truth: Mapping[str, Any]) -> str | None:
    """Name the document: `image_id` counts within a split."""
    meta = truth.get("meta")
    if not isinstance(meta, dict) or meta.get("image_id") is None:
        return None
    return group_in("cord", f"{meta.get('split', 'all')}-{meta['image_id']}")


SOURCE = Source(
    name="cord",
    title="CORD v2",
    metrics={"all": "cord-ted@1"},
    recognises=recognises,
    records=records,
    prompt="Read this document and give its content as JSON.",
)

"""The gallery of a report: which answers are shown, with small pictures, and which changed."""

import base64
import io
from collections.abc import Sequence
from typing import Any

from kolm.pack import EvalPack, PackRow
from kolm.scorecard import EvalRow

SHOWN = {"broken": 16, "fixed": 16, "wrong": 12, "right": 8}
"""Most rows shown of each kind."""

THUMBNAIL = 224
"""Longest side of a picture in pixels."""

LONGEST = 1200
"""Characters shown of a text."""

RIGHT = 0.5
"""A graded answer counts as right in the table of changes from this score on."""


def kind_of(row: EvalRow) -> str:
    """Say what became of a row: `fixed`, `broken`, `right` or `wrong` before and after."""
    before, after = (row.outputs[model].score >= RIGHT for model in ("base", "tuned"))
    return {
        (False, True): "fixed",
        (True, False): "broken",
        (True, True): "right",
        (False, False): "wrong",
    }[before, after]


def turned(rows: Sequence[EvalRow]) -> dict[str, int]:
    """Count the rows of each kind."""
    kinds = [kind_of(row) for row in rows]
    return {kind: kinds.count(kind) for kind in ("right", "fixed", "broken", "wrong")}


def chosen_rows(rows: Sequence[EvalRow], pack: EvalPack) -> list[dict[str, Any]]:
    """Return the rows that are shown, in the pack's order, as text and data URIs."""
    left = dict(SHOWN)
    chosen = []
    for row, asked in zip(rows, pack.rows, strict=True):
        kind = kind_of(row)
        if left[kind]:
            left[kind] -= 1
            chosen.append(_shown(row, asked, pack, kind))
    return chosen


def _shown(row: EvalRow, asked: PackRow, pack: EvalPack, kind: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "slice": row.slice,
        "kind": kind,
        "images": [_thumbnail(pack, cid) for cid in asked.images[:4]],
        "prompt": _cut(asked.prompt),
        "gold": " | ".join(map(_cut, asked.gold[:4])),
        "outputs": {
            model: {"text": _cut(output.raw), "score": output.score, "read": output.extracted is not None}
            for model in ("base", "tuned", "grey", "shuffled")
            if (output := row.outputs.get(model))
        },
    }


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def _thumbnail(pack: EvalPack, cid: Any) -> str:
    """Draw a picture small, as a data URI; the original stays in the artifact."""
    picture = pack.image(cid).copy()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"

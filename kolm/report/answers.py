"""The gallery of a report: which answers are shown, with small pictures, and which changed."""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from kolm.pack import EvalPack, PackRow
from kolm.report.fields import fields
from kolm.report.marks import marks
from kolm.scorecard import EvalRow, Output

SHOWN = {"broken": 16, "fixed": 16, "wrong": 12, "right": 8}
"""Most rows shown of each kind."""

THUMBNAIL = 256
"""Longest side of a picture in pixels."""

LONGEST = 1200
"""Characters shown of a text."""

RIGHT = 0.5
"""A graded answer counts as right in the table of changes from this score on."""

CONTROLS = ("perturbed", "grey", "shuffled")
"""Outputs that are shown folded away."""


@dataclass(frozen=True)
class Picture:
    """One picture of a question; both are None where it is withheld."""

    data: str | None
    """Data URI of a small copy."""
    marks: str | None
    """SVG of boxes and points that lies over it."""


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
    kinds = Counter(kind_of(row) for row in rows)
    return {kind: kinds[kind] for kind in ("right", "fixed", "broken", "wrong")}


def chosen_rows(
    rows: Sequence[EvalRow], pack: EvalPack, *, metrics: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the rows that are shown, in the pack's order, as text and data URIs."""
    missing = set(pack.missing)
    return [
        _shown(rows[place], pack.rows[place], pack, metric_id=metrics[rows[place].slice], missing=missing)
        for place in _chosen(rows)
    ]


def _chosen(rows: Sequence[EvalRow]) -> list[int]:
    """Choose places of rows: of each kind so many, the slices taking turns."""
    turn: Counter[tuple[str, str]] = Counter()
    ranked: dict[str, list[tuple[int, int]]] = {kind: [] for kind in SHOWN}
    for place, row in enumerate(rows):
        kind = kind_of(row)
        turn[kind, row.slice] += 1
        ranked[kind].append((turn[kind, row.slice], place))
    return sorted(place for kind, most in SHOWN.items() for _, place in sorted(ranked[kind])[:most])


def _shown(
    row: EvalRow, asked: PackRow, pack: EvalPack, *, metric_id: str, missing: set[Any]
) -> dict[str, Any]:
    outputs: Mapping[Any, Output] = row.outputs
    told = {
        model: {"text": cut(output.raw), "score": output.score, "read": output.extracted is not None}
        for model in ("base", "tuned", *CONTROLS)
        if (output := outputs.get(model))
    }
    return {
        "id": row.id,
        "slice": row.slice,
        "kind": kind_of(row),
        "pictures": [
            Picture(None, None) if cid in missing else _picture(pack.image(cid), row, asked, metric_id)
            for cid in asked.images[:4]
        ],
        "prompt": cut(asked.prompt),
        "gold": " | ".join(map(cut, asked.gold[:4])),
        "outputs": {model: told[model] for model in ("base", "tuned") if model in told},
        "controls": {model: told[model] for model in CONTROLS if model in told},
        "fields": fields(metric_id, gold=asked.gold[0], outputs=row.outputs),
    }


def cut(text: str, most: int = LONGEST) -> str:
    """Return a text, or its beginning and its length."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def _picture(picture: Image.Image, row: EvalRow, asked: PackRow, metric_id: str) -> Picture:
    """Draw a picture small, as a data URI; the original stays in the artifact."""
    drawn = None
    if len(asked.images) == 1:  # an answer about several pictures does not say in which it points
        drawn = marks(metric_id, gold=asked.gold, outputs=row.outputs, size=picture.size)
    return Picture(thumbnail(picture), drawn)


def thumbnail(picture: Image.Image) -> str:
    """Return a small copy of a picture as a data URI."""
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    small.save(data, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"

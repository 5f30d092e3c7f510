"""Boxes and points over a picture: where the right answer lies, and where the models pointed."""

import re
from collections.abc import Mapping
from typing import Any

from kolm.metrics import get_metric
from kolm.metrics.places import SCALES
from kolm.scorecard import Output

_PLACES = re.compile(r"(?:iou50|iou|click)-([a-z]+)@[0-9]+\Z")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?\Z")


def marks(
    metric_id: str, *, gold: tuple[str, ...], outputs: Mapping[Any, Output], size: tuple[int, int]
) -> str | None:
    """Return an SVG that lies over a picture of `size` pixels, None where a metric knows no places.

    Its coordinates are shares of the picture in thousandths, so it fits the picture at any size.
    """
    scale = _scale(metric_id, size)
    if scale is None:
        return None
    places = [("gold", _numbers(answer.strip().strip("[]()"))) for answer in gold]
    places += [
        (model, _numbers(output.extracted or ""))
        for model in ("base", "tuned")
        if (output := outputs.get(model))
    ]
    drawn = "".join(_drawn(css, place, scale) for css, place in places)
    head = '<svg class="marks" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">'
    return f"{head}{drawn}</svg>"


def _scale(metric_id: str, size: tuple[int, int]) -> tuple[float, float] | None:
    """Return the largest coordinate along each side, None where the metric is not about places."""
    found = _PLACES.match(get_metric(metric_id).id)
    if found is None:
        return None
    limit = SCALES[found[1]]
    return (limit, limit) if limit else (float(max(1, size[0])), float(max(1, size[1])))


def _numbers(text: str) -> list[float]:
    """Read two or four numbers; anything else is no place."""
    pieces = [piece.strip() for piece in text.split(",")]
    if len(pieces) not in (2, 4) or not all(_NUMBER.match(piece) for piece in pieces):
        return []
    return [float(piece) for piece in pieces]


def _drawn(css: str, place: list[float], scale: tuple[float, float]) -> str:
    """Draw a box or a point; what lies outside the picture is moved to its edge."""
    shares = [min(1.0, n / scale[i % 2]) * 1000 for i, n in enumerate(place)]
    if len(shares) == 2:
        return f'<path class="point {css}" d="M{shares[0]:.1f} {shares[1]:.1f}h0"/>'
    if len(shares) == 4:
        x1, x2 = sorted((shares[0], shares[2]))
        y1, y2 = sorted((shares[1], shares[3]))
        return f'<rect class="{css}" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"/>'
    return ""

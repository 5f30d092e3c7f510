"""Boxes and points: intersection over union, and clicks that hit.

The coordinates are those of the metric's id: `pixels` of the image as it was asked about, `thousand`
(0 to 1000 along each side) or `unit` (0 to 1). Model and gold use the same; nothing is rescaled.
"""

from kolm.errors import DataError

SCALES: dict[str, float | None] = {"pixels": None, "thousand": 1000.0, "unit": 1.0}
"""Largest coordinate of each convention; pixels end where the image does."""

Box = tuple[float, float, float, float]


def iou(answer: str, gold: str) -> float:
    """Return the intersection over union of two boxes; two boxes without area share nothing."""
    a, b = _box(answer), _gold(gold)
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else 0.0


def iou50(answer: str, gold: str) -> float:
    """Return 1 where the intersection over union is at least a half (Acc@0.5)."""
    return float(iou(answer, gold) >= 0.5)


def click(answer: str, gold: str) -> float:
    """Return 1 where a point, or the centre of a box, lies in the gold box, its edges included.

    ScreenSpot, arXiv:2401.10935.
    """
    numbers = [float(n) for n in answer.split(",")]
    x, y = numbers if len(numbers) == 2 else ((numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2)
    x1, y1, x2, y2 = _gold(gold)
    return float(x1 <= x <= x2 and y1 <= y <= y2)


def _box(text: str) -> Box:
    x1, y1, x2, y2 = (float(n) for n in text.split(","))
    return x1, y1, x2, y2


def _gold(text: str) -> Box:
    try:
        x1, y1, x2, y2 = _box(text.strip().strip("[]()"))
    except ValueError as err:
        raise DataError(f"{text!r} is not a box", hint="the answer is written x1,y1,x2,y2") from err
    if x1 > x2 or y1 > y2:
        raise DataError(f"{text!r}: the corners of the box are swapped", hint="write x1 <= x2")
    return x1, y1, x2, y2


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

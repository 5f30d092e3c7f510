"""Real handwritten digits as rows: what the trainer's and the pipeline's tests learn from."""

from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from apps.capture.digits import PROMPT

BASES = Path(__file__).resolve().parents[1] / "specs" / "bases"
QWEN = BASES / "qwen2_5_vl-tiny"
LLAVA = BASES / "llava-tiny"


@cache
def digits(count: int, start: int = 0) -> tuple[tuple[Image.Image, str], ...]:
    """Return `count` pictures with their names, from scikit-learn's scans, in the demo's order."""
    from apps.capture.digits import load_digits

    chosen = load_digits()[start : start + count]
    return tuple((digit.picture, digit.word) for digit in chosen)


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Return rows with PIL images, as the trainer takes them in Python."""
    return [{"image": image, "prompt": PROMPT, "response": word} for image, word in digits(count, start)]

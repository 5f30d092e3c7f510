"""The digits demo: real handwritten digits as picture files, with questions in words.

scikit-learn ships 1,797 scans of handwritten digits (UCI "Optical Recognition of Handwritten Digits", 8 x 8
cells of 16 grey levels, bright ink on black). One fixed permutation makes 1,200 training, 97 validation and
500 eval pictures; no picture is in two of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from apps.capture.demo import Asked, Demo, Side
from kolm.errors import SpecError

PROMPT = "Which digit is written in this picture? Answer with one word."
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 64
"""Width and height of a picture, in pixels."""

PACK = """\
# An eval pack: rows with known answers. Nothing here is ever trained on.
kolm-pack: 1              # version of this format
name: digits
version: 1
rows: pack.jsonl          # one row per line: id, image, prompt, gold, slice
cluster: image            # rows that show the same picture are resampled together
slices:
  read: {metric: exact@1} # each slice is scored by one metric; exact@1 compares whole answers
"""

COUNTS: dict[Side, int] = {"train": 1200, "validation": 97, "eval": 500}


@dataclass(frozen=True)
class Digit:
    """One scan: its position in scikit-learn's table, its picture and its word."""

    number: int
    picture: Image.Image
    word: str


def load_digits() -> list[Digit]:
    """Return all 1,797 digits in the fixed order of the demo. Raises SpecError without scikit-learn."""
    try:
        import numpy as np
        from sklearn import datasets
    except ImportError as err:
        raise SpecError(
            "the digits demo needs scikit-learn, which holds the scans", hint="pip install 'kolm[demo]'"
        ) from err
    table = datasets.load_digits()
    cells = np.round(table.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    order = np.random.RandomState(0).permutation(len(cells))
    return [Digit(int(at), _picture(cells[at].tobytes()), WORDS[int(table.target[at])]) for at in order]


def digit_rows(side: Side, count: int) -> Iterator[Asked]:
    """Yield the first `count` digits of a side; the sides lie one after another in the fixed order."""
    start = {"train": 0, "validation": COUNTS["train"], "eval": COUNTS["train"] + COUNTS["validation"]}[side]
    for digit in load_digits()[start : start + count]:
        name = f"{digit.number:04d}"
        yield Asked(f"digit-{name}", f"images/{name}.png", digit.picture, PROMPT, digit.word, slice="read")


def _picture(cells: bytes) -> Image.Image:
    """Enlarge 8 x 8 grey cells to an RGB picture."""
    scan = Image.frombytes("L", (8, 8), cells)
    return scan.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")


DIGITS = Demo(name="digits", counts=COUNTS, rows=digit_rows, specs={"spec.yaml": "digits.yaml"}, pack=PACK)

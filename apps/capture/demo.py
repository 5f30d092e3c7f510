"""The digits demo: real handwritten digits as picture files, with questions in words.

scikit-learn ships 1,797 scans of handwritten digits (UCI "Optical Recognition of Handwritten Digits", 8 x 8
cells of 16 grey levels, bright ink on black). One fixed permutation makes 1,200 training, 97 validation and
500 eval pictures; no picture is in two of them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

import kolm
from kolm.errors import SpecError
from kolm.files import make_folder, new_folder, read_bytes, refusal, write_atomic
from kolm.images import to_png

PROMPT = "Which digit is written in this picture? Answer with one word."
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 64
"""Width and height of a picture, in pixels."""

TRAIN_ROWS, VALIDATION_ROWS, EVAL_ROWS = 1200, 97, 500
DEFAULT_BASE = "qwen2_5_vl-tiny"
BASES = Path(kolm.__file__).resolve().parent.parent / "specs" / "bases"

SPEC = """\
# A kolm spec: what to compile, from what, trained how, judged by what.
# `kolm compile spec.yaml` runs it; `kolm schema` lists every key. Paths are relative to this file.

kolm: 1                             # version of this format
name: digits                        # the result is digits.kolm, with digits.receipt.json beside it
task: Read one handwritten digit    # what the model is for, in words

base:
  model: base/{base}        # the model that is adapted: a folder, or the id of a model on the hub

data:
  train: train/pairs.jsonl            # rows to learn from: image, prompt, response
  validation: validation/pairs.jsonl  # rows whose loss chooses the best weights; never the gate's
  eval: eval/pack.yaml                # rows the result is judged on, with right answers and a metric

train:
  method: lora                      # small matrices beside frozen weights are learned
  lora_r: 16                        # their rank: how much can be learned
  lora_alpha: 32                    # their scale: updates are multiplied by lora_alpha / lora_r
  freeze_vision: true               # the vision tower stays as it is, bit for bit; the receipt shows it
  learning_rate: 2.0e-3             # high, because the base is tiny; large bases want about 1.0e-4
  warmup_steps: 20                  # steps over which the learning rate rises from 0
  num_train_epochs: 12              # passes over the training rows
  per_device_train_batch_size: 32   # rows per step
  gradient_accumulation_steps: 1    # batches per step
  max_seq_length: 512               # longest row, in tokens
  logging_steps: 50                 # steps between two lines of progress
  bf16: false                       # compute in float32, which is exact enough to be repeated on a CPU
  seed: 0                           # another seed gives other bytes, and so another CID

generation:
  max_new_tokens: 8                 # longest answer, in tokens

eval:
  min_accuracy: 0.85                # the lower 95 % bound of the accuracy must reach this
  gate:
    k: 0.80                         # so must K, the score of accuracy, size, latency, cost and coverage
  budget:
    latency_p95_s: 5.0              # seconds within which 95 % of the answers must be there; ample on purpose
"""

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


@dataclass(frozen=True)
class Digit:
    """One scan: its position in scikit-learn's table, its picture and its word."""

    number: int
    picture: Image.Image
    word: str

    @property
    def file(self) -> str:
        """Path of the picture beside its rows."""
        return f"images/{self.number:04d}.png"


def write_digits(
    directory: Path, *, base: str = DEFAULT_BASE, train_rows: int = TRAIN_ROWS, eval_rows: int = EVAL_ROWS
) -> None:
    """Write spec, data and base of the demo to `directory`, all of it or nothing.

    Raises SpecError when the folder holds something, the base is not shipped or scikit-learn is missing;
    StorageError when the disk refuses.
    """
    with new_folder(directory) as draft:
        source = base_folder(base)
        _write_rows(draft, load_digits(), train_rows=train_rows, eval_rows=eval_rows)
        _copy(source, draft / "base" / base)
        write_atomic(draft / "spec.yaml", SPEC.format(base=base).encode())


def base_folder(name: str) -> Path:
    """Return the folder of a shipped base. Raises SpecError naming those that are shipped."""
    shipped = sorted(path.parent.name for path in BASES.glob("*/config.json"))
    if name not in shipped:
        known = (
            f"shipped bases: {', '.join(shipped)}" if shipped else "run this from a clone of the repository"
        )
        raise SpecError(f"no base {name!r} in {BASES}", hint=known)
    return BASES / name


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


def _picture(cells: bytes) -> Image.Image:
    """Enlarge 8 x 8 grey cells to an RGB picture."""
    scan = Image.frombytes("L", (8, 8), cells)
    return scan.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")


def _write_rows(draft: Path, digits: Sequence[Digit], *, train_rows: int, eval_rows: int) -> None:
    """Write the three folders; fewer rows are the first ones of each, so that no picture changes sides."""
    held = TRAIN_ROWS + VALIDATION_ROWS
    if not (0 < train_rows <= TRAIN_ROWS and 0 < eval_rows <= EVAL_ROWS):
        raise SpecError(
            f"the demo has {TRAIN_ROWS} training and {EVAL_ROWS} eval rows",
            hint="ask for at least 1 and no more",
        )
    for name, part in (("train", digits[:train_rows]), ("validation", digits[TRAIN_ROWS:held])):
        rows = [{"image": digit.file, "prompt": PROMPT, "response": digit.word} for digit in part]
        _write_part(draft / name, part, rows, file="pairs.jsonl")
    asked = digits[held : held + eval_rows]
    questions = [
        {
            "id": f"digit-{digit.number:04d}",
            "image": digit.file,
            "prompt": PROMPT,
            "gold": digit.word,
            "slice": "read",
        }
        for digit in asked
    ]
    _write_part(draft / "eval", asked, questions, file="pack.jsonl")
    write_atomic(draft / "eval" / "pack.yaml", PACK.encode())


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a base."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            make_folder(place.parent)
            write_atomic(place, read_bytes(path, what="base"))


def _write_part(folder: Path, digits: Sequence[Digit], rows: Sequence[dict[str, str]], *, file: str) -> None:
    make_folder(folder / "images")
    try:
        for digit in digits:
            (folder / digit.file).write_bytes(to_png(digit.picture))
    except OSError as err:
        raise refusal(err, action="write", path=folder) from err
    write_atomic(folder / file, "".join(json.dumps(row) + "\n" for row in rows).encode())

"""What the demos share: a folder with spec, pictures, eval pack and base, written whole or not at all."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

import kolm
from kolm.errors import SpecError
from kolm.files import make_folder, new_folder, read_bytes, refusal, write_atomic
from kolm.images import to_png

DEFAULT_BASE = "qwen2_5_vl-tiny"
SPECS = Path(kolm.__file__).resolve().parent.parent / "specs"
BASES = SPECS / "bases"

Side = Literal["train", "validation", "eval"]


@dataclass(frozen=True)
class Asked:
    """One picture with a question and its answer: a row to learn from, or one of the eval pack."""

    id: str
    file: str
    """Path of the picture beside its rows."""
    picture: Image.Image
    prompt: str
    answer: str
    slice: str
    group: str | None = None
    """What the picture was made from; None: only itself."""

    def pair(self) -> dict[str, str]:
        """Return the row of a training file (specs/formats/row.md 5)."""
        return {"image": self.file, "prompt": self.prompt, "response": self.answer, **self._grouped()}

    def question(self) -> dict[str, str]:
        """Return the row of a pack (specs/formats/pack.md 2)."""
        row = {"id": self.id, "image": self.file, "prompt": self.prompt, "gold": self.answer}
        return {**row, "slice": self.slice, **self._grouped()}

    def _grouped(self) -> dict[str, str]:
        return {} if self.group is None else {"group": self.group}


@dataclass(frozen=True)
class Demo:
    """What one demo writes."""

    name: str
    counts: Mapping[Side, int]
    """Most rows of each side; they are written unless fewer are asked for."""
    rows: Callable[[Side, int], Iterable[Asked]]
    """The first rows of a side: fewer are the first of more, and no picture is on two sides."""
    specs: Mapping[str, str]
    """Files of the demo by name, and the files of `specs/` they are written from."""
    pack: str
    """Text of the pack.yaml."""


def write_demo(
    demo: Demo,
    directory: Path,
    *,
    base: str = DEFAULT_BASE,
    train_rows: int | None = None,
    eval_rows: int | None = None,
) -> None:
    """Write specs, data and base of a demo to `directory`, all of it or nothing.

    Raises SpecError when the folder holds something, the base is not shipped, a package of the demo is
    missing or so many rows are not there; StorageError when the disk refuses.
    """
    asked: dict[Side, int | None] = {"train": train_rows, "validation": None, "eval": eval_rows}
    counts = {side: demo.counts[side] if count is None else count for side, count in asked.items()}
    if not all(0 < count <= demo.counts[side] for side, count in counts.items()):
        most = f"{demo.counts['train']} training and {demo.counts['eval']} eval rows"
        raise SpecError(f"the demo has {most}", hint="ask for at least 1 and no more")
    with new_folder(directory) as draft:
        source = base_folder(base)
        for side, count in counts.items():
            _write_side(draft / side, side, demo.rows(side, count))
        write_atomic(draft / "eval" / "pack.yaml", demo.pack.encode())
        _copy(source, draft / "base" / base)
        for name, template in demo.specs.items():
            text = read_bytes(SPECS / template, what="spec").decode()
            write_atomic(draft / name, text.replace(f"base/{DEFAULT_BASE}", f"base/{base}").encode())


def base_folder(name: str) -> Path:
    """Return the folder of a shipped base. Raises SpecError naming those that are shipped."""
    shipped = sorted(path.parent.name for path in BASES.glob("*/config.json"))
    if name not in shipped:
        known = (
            f"shipped bases: {', '.join(shipped)}" if shipped else "run this from a clone of the repository"
        )
        raise SpecError(f"no base {name!r} in {BASES}", hint=known)
    return BASES / name


def _write_side(folder: Path, side: Side, rows: Iterable[Asked]) -> None:
    """Write the pictures of a side one by one, then its rows."""
    make_folder(folder / "images")
    lines = []
    for row in rows:
        _keep(folder / row.file, row.picture)
        lines.append(json.dumps(row.question() if side == "eval" else row.pair()) + "\n")
    name = "pack.jsonl" if side == "eval" else "pairs.jsonl"
    write_atomic(folder / name, "".join(lines).encode())


def _keep(path: Path, picture: Image.Image) -> None:
    """Write a picture once, however many rows ask about it."""
    try:
        if not path.exists():
            path.write_bytes(to_png(picture))
    except OSError as err:
        raise refusal(err, action="write", path=path) from err


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a base."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            make_folder(place.parent)
            write_atomic(place, read_bytes(path, what="base"))

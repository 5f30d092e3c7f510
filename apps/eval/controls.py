"""What each output of a row is shown: the row's pictures, grey ones, another's, or the row slightly changed.

This is the one home of it, for evaluation and for an auditor who asks again (specs/formats/kscore.md 3).
"""

import io
from dataclasses import replace
from typing import Literal

from PIL import Image

from kolm.answers import Question
from kolm.cid import sha256_hex
from kolm.draws import perturbation
from kolm.images import grey_like
from kolm.pack import EvalPack, PackRow

Kind = Literal["base", "tuned", "grey", "shuffled", "perturbed"]

JPEG_QUALITY = 90
"""Of a perturbed picture, as Pillow counts it: 1 to 95."""

SMALLER = 0.98
"""Factor on both sides of a perturbed picture."""


def kinds(*, sees_images: bool) -> tuple[Kind, ...]:
    """Return the outputs that every row has; a model that looks at no images has no blind controls."""
    blind: tuple[Kind, ...] = ("grey", "shuffled") if sees_images else ()
    return ("base", "tuned", *blind, "perturbed")


def shown(kind: Kind, row: PackRow, pack: EvalPack, *, partner: PackRow) -> Question:
    """Return what a model is shown for one output of a row; `partner` as `partners` has it.

    Raises DataError for a picture that is not there.
    """
    if kind == "shuffled":
        return Question(row.turns, _pictures(partner, pack))
    pictures = _pictures(row, pack)
    if kind == "grey":
        return Question(row.turns, tuple(grey_like(picture) for picture in pictures))
    if kind == "perturbed":
        return _perturbed(row, pictures, pack.digest)
    return Question(row.turns, pictures)


def partners(pack: EvalPack) -> dict[str, PackRow]:
    """Return for each row, by its id, the row whose pictures it is shown in the shuffled control.

    Rows are put in the order of a hash of the pack's digest and their id; each takes the pictures of
    the next row in that ring whose pictures are not its own. A pack with one picture keeps it.
    """
    digest = pack.digest
    ring = sorted(pack.rows, key=lambda row: sha256_hex(f"{digest} {row.id}".encode()))
    kin: dict[int, list[PackRow]] = {}
    for row in ring:
        kin.setdefault(len(row.images), []).append(row)
    found = {}
    for rows in kin.values():
        before, partner = rows[0], rows[0]
        for row in reversed((*rows, *rows)):  # backwards, and twice, so that the end meets the beginning
            partner = partner if row.images == before.images else before
            before = row
            found[row.id] = row if row.images == partner.images else partner
    return found


def _pictures(row: PackRow, pack: EvalPack) -> tuple[Image.Image, ...]:
    return tuple(pack.image(cid) for cid in row.images)


def _perturbed(row: PackRow, pictures: tuple[Image.Image, ...], pack_digest: str) -> Question:
    how = perturbation(pack_digest, row.id, has_image=bool(pictures))
    if how == "space":
        return Question(replace(row, prompt=f" {row.prompt}\n").turns, pictures)
    change = _compressed if how == "jpeg" else _smaller
    return Question(row.turns, tuple(change(picture) for picture in pictures))


def _compressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return Image.open(buffer, formats=("JPEG",)).convert("RGB")


def _smaller(picture: Image.Image) -> Image.Image:
    width, height = (max(1, round(side * SMALLER)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)

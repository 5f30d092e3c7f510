"""Rows drawn by hash: which are timed, how each is perturbed, and which an auditor asks again.

A draw depends on a digest and the rows' ids alone, so anyone repeats it and nobody chooses. Rows are ordered
by SHA-256 of a label, the digest and their id; the first of that order are drawn (specs/formats/kscore.md 3).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from kolm.cid import CID, sha256_hex

TIMED = 50
"""Most rows whose answers are timed."""

Perturbation = Literal["jpeg", "resize", "space"]
PERTURBATIONS: tuple[Perturbation, ...] = ("jpeg", "resize", "space")
"""How the question of a row is changed a little: its pictures as JPEG of quality 90, its pictures 2 %
smaller, white space around its prompt."""


def timed_rows(pack_digest: str, ids: Sequence[str]) -> list[str]:
    """Return the ids of the rows that are asked alone and timed, in the pack's order."""
    return _drawn(f"timed {pack_digest}", ids, TIMED)


def perturbation(pack_digest: str, row_id: str, *, has_image: bool) -> Perturbation:
    """Return how a row is perturbed; a row without a picture only has its prompt to change."""
    if not has_image:
        return "space"
    return PERTURBATIONS[int(sha256_hex(f"perturbed {pack_digest} {row_id}".encode())[:13], 16) % 3]


def replayed_rows(artifact: CID, nonce: bytes, ids: Sequence[str], count: int) -> list[str]:
    """Return the ids of the rows that an auditor asks again, in the pack's order.

    The publisher knows the artifact and not the nonce, so false rows cannot be put where nobody looks.
    """
    return _drawn(f"replayed {artifact} {nonce.hex()}", ids, count)


def _drawn(label: str, ids: Iterable[str], count: int) -> list[str]:
    listed = list(ids)
    chosen = set(sorted(listed, key=lambda row_id: sha256_hex(f"{label} {row_id}".encode()))[:count])
    return [row_id for row_id in listed if row_id in chosen]

"""The page of `kolm leaks --html`: near duplicates side by side, for whoever reviews them."""

from collections.abc import Sequence
from typing import Any

from kolm.dataset import Dataset
from kolm.leaks import Leaks, NearDuplicate
from kolm.pack import EvalPack
from kolm.report.answers import thumbnail
from kolm.report.page import laid_out

MOST = 500
"""Pairs that are shown; the rest is counted."""


def lookalikes_html(found: Leaks, trained_on: Sequence[Dataset], pack: EvalPack) -> str:
    """Return one page without scripts or links, pairs that wait first. Raises DataError."""
    homes = {cid: dataset for dataset in trained_on for row in dataset.examples for cid in row.images}
    pairs = sorted(found.near, key=lambda pair: (found.verdict(pair) == "distinct", pair.difference))

    def shown(pair: NearDuplicate) -> dict[str, Any]:
        one, two = homes[pair.train].image(pair.train), pack.image(pair.eval)
        return {
            "pair": pair,
            "verdict": found.verdict(pair),
            "train": thumbnail(one),
            "eval": thumbnail(two),
            "sizes": (one.size, two.size),
        }

    return laid_out(
        "lookalikes.html.j2",
        pack=pack.name,
        counts=found.counts(),
        pairs=[shown(pair) for pair in pairs[:MOST]],
    )

"""The page of `kolm leaks --html`: near duplicates side by side, for whoever reviews them."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from kolm.dataset import Dataset
from kolm.leaks import Leaks, NearDuplicate
from kolm.pack import EvalPack
from kolm.report.answers import thumbnail
from kolm.report.page import environment

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

    style = environment().get_template("style.css.j2").render(slices=0, kinds={})
    return str(
        environment()
        .get_template("lookalikes.html.j2")
        .render(
            pack=pack.name,
            counts=found.counts(),
            pairs=[shown(pair) for pair in pairs[:MOST]],
            style=style,
            style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        )
    )

"""Run a base and its tuned model over an eval pack and keep every output.

Four outputs are made for each row: `base`, `tuned`, and two blind controls of the tuned model,
`grey` (a grey image of the same size) and `shuffled` (another row's image). A pack without any image,
which is a text-only model's, has no controls. Batch of one, greedy.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kolm.answers import Answer, Answerer
from kolm.cid import CID, sha256_hex
from kolm.errors import EvalError
from kolm.images import grey_like
from kolm.metrics import get_metric
from kolm.pack import EvalPack, PackRow

WARM_UP = 3
"""Questions asked before anything is timed."""

Progress = Callable[[str, int, int], None]
"""Called after each question with (what is running, done, in all)."""


@dataclass(frozen=True)
class Outputs:
    """Everything that was said, in the pack's order, and how long each answer took."""

    rows: list[dict[str, Any]]
    """Rows of the member `eval/rows.jsonl`."""
    base_ns: list[int]
    tuned_ns: list[int]


def evaluate(
    open_base: Callable[[], Answerer],
    open_tuned: Callable[[], Answerer],
    pack: EvalPack,
    *,
    metrics: dict[str, str],
    max_new_tokens: int,
    progress: Progress | None = None,
) -> Outputs:
    """Ask both models every question of the pack.

    The models are opened one after the other, so that only one is in memory. `metrics` maps each
    slice to a metric id. Raises EvalError.
    """
    partner = shuffled_images(pack)
    by_id = {row.id: row for row in pack.rows}

    def own(row: PackRow) -> list[Any]:
        return [pack.image(cid) for cid in row.images]

    def grey(row: PackRow) -> list[Any]:
        return [grey_like(image) for image in own(row)]

    def swapped(row: PackRow) -> list[Any]:
        return own(by_id[partner[row.id]])

    run = _Run(pack, max_new_tokens, progress)
    base_answers, base_ns = run.ask("base", open_base(), own)
    tuned = open_tuned()
    tuned_answers, tuned_ns = run.ask("tuned", tuned, own)
    answers = {"base": base_answers, "tuned": tuned_answers}
    if any(row.images for row in pack.rows):
        answers["grey"], _ = run.ask("grey", tuned, grey)
        answers["shuffled"], _ = run.ask("shuffled", tuned, swapped)
    rows = [
        {
            "id": row.id,
            "slice": row.slice,
            "prompt_tokens": tuned_answers[i].prompt_tokens,
            "image_tokens": tuned_answers[i].image_tokens,
            "patches": tuned_answers[i].patches,
            "outputs": {kind: _scored(said[i], row, metrics[row.slice]) for kind, said in answers.items()},
        }
        for i, row in enumerate(pack.rows)
    ]
    return Outputs(rows, base_ns, tuned_ns)


def shuffled_images(pack: EvalPack) -> dict[str, str]:
    """Return for each row the id of the row whose images it is shown in the shuffled control.

    Rows are put in the order of a hash of the pack's digest and their id; each takes the images of
    the next row in that ring whose images are not its own. A pack with one picture keeps it.
    """
    ring = sorted(pack.rows, key=lambda row: sha256_hex(f"{pack.digest} {row.id}".encode()))
    partner = {}
    for place, row in enumerate(ring):
        following = ring[place + 1 :] + ring[:place]
        partner[row.id] = next((r.id for r in following if _swappable(row.images, r.images)), row.id)
    return partner


def _swappable(own: Sequence[CID], others: Sequence[CID]) -> bool:
    return len(own) == len(others) and tuple(own) != tuple(others)


def _scored(answer: Answer, row: PackRow, metric_id: str) -> dict[str, Any]:
    extracted, score = get_metric(metric_id).judge(answer.text, row.gold)
    return {
        "raw": answer.text,
        "extracted": extracted,
        "score": score,
        "tokens": answer.tokens,
        "finish": answer.finish,
    }


class _Run:
    """Asks one model after the other the questions of a pack."""

    def __init__(self, pack: EvalPack, max_new_tokens: int, progress: Progress | None) -> None:
        self._pack = pack
        self._max_new_tokens = max_new_tokens
        self._progress = progress

    def ask(
        self, kind: str, model: Answerer, show: Callable[[PackRow], list[Any]]
    ) -> tuple[list[Answer], list[int]]:
        """Return the answers and, for each, its wall time in nanoseconds from decoded images to text."""
        for row in self._pack.rows[:WARM_UP]:
            self._one(model, row, show(row))
        answers, times = [], []
        for done, row in enumerate(self._pack.rows, start=1):
            images = show(row)
            began = time.perf_counter_ns()
            answers.append(self._one(model, row, images))
            times.append(time.perf_counter_ns() - began)
            if self._progress:
                self._progress(kind, done, len(self._pack.rows))
        return answers, times

    def _one(self, model: Answerer, row: PackRow, images: Sequence[Any]) -> Answer:
        try:
            return model.ask(row.turns, images, max_new_tokens=self._max_new_tokens)
        except (RuntimeError, ValueError, IndexError) as err:
            raise EvalError(
                f"eval row {row.id}: the model failed: {str(err).splitlines()[0]}",
                hint="out of memory? lower processor.max_pixels",
            ) from err

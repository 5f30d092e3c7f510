"""Metrics: from a model's raw answer and the accepted answers to a score in [0, 1].

A metric id carries its version (`exact@1`): the meaning of an id never changes, a better definition
gets a new id. Reading the answer out of the raw output is a stage of its own, stored beside the score;
what cannot be read scores 0. specs/formats/metrics.md defines each metric.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

from kolm.canonical import round6
from kolm.errors import SpecError
from kolm.metrics import places, sequences, trees, words
from kolm.metrics.reading import box, json_repaired, json_strict, point, whole
from kolm.validation import nearest

__all__ = ["METRICS", "Metric", "Scored", "get_metric", "versions_of"]


_READABLE = "[0,0,0,0]"
"""An answer that every reader reads: text, JSON, and a box of every scale."""


class Scored(NamedTuple):
    """What was read out of a raw answer (None: nothing), and its score."""

    extracted: str | None
    score: float


@dataclass(frozen=True)
class Metric:
    """A versioned way to score one answer."""

    id: str
    binary: bool
    """Whether every score is 0 or 1."""
    extract: Callable[[str], str | None]
    """Read the answer out of the raw output, or return None."""
    compare: Callable[[str, Sequence[str]], float]
    """Score an extracted answer against all accepted answers."""
    packages: tuple[str, ...] = ()
    """Distributions that compute it; their versions stand in the lock."""

    def score(self, extracted: str | None, gold: Sequence[str]) -> float:
        """Return the score in [0, 1], rounded to 6 decimals; an unread answer scores 0.

        Raises DataError when an accepted answer is not what the metric compares with.
        """
        if extracted is None or not gold:
            return 0.0
        composed = [unicodedata.normalize("NFC", answer) for answer in gold]  # as answers are
        return round6(min(1.0, max(0.0, self.compare(extracted, composed))))

    def check(self, gold: Sequence[str]) -> None:
        """Raise DataError when an accepted answer is not what the metric compares with."""
        self.score(self.extract(_READABLE), gold)

    def judge(self, raw: str, gold: Sequence[str]) -> Scored:
        """Extract and score one raw answer."""
        extracted = self.extract(raw)
        return Scored(extracted, self.score(extracted, gold))


def get_metric(metric_id: str) -> Metric:
    """Return the metric of an id. Raises SpecError for an unknown id, naming the nearest."""
    if metric_id in METRICS:
        return METRICS[metric_id]
    close = nearest(metric_id, METRICS)
    hint = f"did you mean `{close}`? " if close else ""
    raise SpecError(f"unknown metric `{metric_id}`", hint=f"{hint}known: {', '.join(METRICS)}")


def versions_of(metric_ids: Iterable[str]) -> dict[str, str]:
    """Return the version of every package that computes these metrics."""
    packages = {package for metric_id in metric_ids for package in get_metric(metric_id).packages}
    return {package: version(package) for package in sorted(packages)}


def best(compare: Callable[[str, str], float]) -> Callable[[str, Sequence[str]], float]:
    """Score against several accepted answers by the one that fits best."""
    return lambda answer, gold: max(compare(answer, accepted) for accepted in gold)


_ALL = [
    Metric("exact@1", True, whole, best(words.exact)),
    Metric("exact-strict@1", True, whole, best(words.exact_strict)),
    Metric("relaxed@1", True, whole, best(words.relaxed)),
    Metric("relaxed-strict@1", True, whole, best(words.relaxed_strict)),
    Metric("anls@1", False, whole, best(words.anls), ("rapidfuzz",)),
    Metric("vqa@1", False, whole, words.vqa),
    Metric("cer@1", False, whole, best(sequences.characters), ("jiwer",)),
    Metric("wer@1", False, whole, best(sequences.spoken), ("jiwer",)),
    Metric("bleu@1", False, whole, sequences.bleu, ("sacrebleu",)),
    Metric("chrf@1", False, whole, sequences.chrf, ("sacrebleu",)),
    Metric("rouge-l@1", False, whole, best(sequences.rouge_l), ("rouge-score",)),
    Metric("anls-star@1", False, json_repaired, best(trees.anls_star), ("anls-star",)),
    Metric("cord-ted@1", False, json_repaired, best(trees.cord_ted), ("zss",)),
    Metric("field-f1@1", False, json_repaired, best(trees.field_f1)),
    Metric("json-schema@1", True, json_strict, best(trees.valid), ("jsonschema",)),
    Metric("json-schema-repaired@1", True, json_repaired, best(trees.valid), ("jsonschema",)),
    *(
        Metric(f"{name}-{scale}@1", binary, read(scale), best(compare))
        for scale in places.SCALES
        for name, binary, read, compare in (
            ("iou", False, box, places.iou),
            ("iou50", True, box, places.iou50),
            ("click", True, point, places.click),
        )
    ),
]

METRICS = {metric.id: metric for metric in _ALL}

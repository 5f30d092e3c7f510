"""Metrics: from a model's raw answer and the accepted answers to a score in [0, 1].

A metric id carries its version (`exact@1`): the meaning of an id never changes, a better definition
gets a new id. Reading the answer out of the raw output is a stage of its own, stored beside the score;
what cannot be read scores 0. specs/formats/kscore.md 2 defines each metric.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kolm.errors import SpecError
from kolm.validation import nearest


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
    compare: Callable[[str, str], float]
    """Score an extracted answer against one accepted answer."""

    def score(self, extracted: str | None, gold: Sequence[str]) -> float:
        """Return the best score over the accepted answers; an unread answer scores 0."""
        if extracted is None:
            return 0.0
        return max((self.compare(extracted, answer) for answer in gold), default=0.0)

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


def whole_answer(raw: str) -> str | None:
    """Take the whole output as the answer, without the white space around it; nothing is left: None."""
    return unicodedata.normalize("NFC", raw).strip() or None


def plain(answer: str) -> str:
    """Bring an answer to the form in which exact@1 compares (specs/formats/kscore.md 2.1)."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", answer).casefold())
    words = " ".join(folded.split())
    return words.removesuffix(".").rstrip()


def _exact(answer: str, gold: str) -> float:
    return float(plain(answer) == plain(gold))


METRICS = {metric.id: metric for metric in [Metric("exact@1", True, whole_answer, _exact)]}

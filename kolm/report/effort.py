"""Plan against actual: what was predicted before training, and what was observed."""

import statistics
from dataclasses import dataclass

from kolm.predicates import CompilePredicate
from kolm.report.numbers import duration, size


@dataclass(frozen=True)
class Compared:
    """One quantity as it was planned and as it was seen."""

    name: str
    planned: str
    observed: str
    ratio: float | None
    """Observed over planned."""


def plan_against_actual(compiled: CompilePredicate) -> list[Compared]:
    """Return peak memory and the time of one optimizer step; what was not predicted says so."""
    planned, steps = compiled.planned, compiled.timings.steps_ns
    step = statistics.median(steps) if steps else None
    peak = compiled.memory.peak_bytes
    predicted_peak, predicted_step = (planned.peak_bytes, planned.step_ns) if planned else (None, None)
    return [
        Compared("peak memory", _said(size(predicted_peak)), size(peak), _ratio(peak, predicted_peak)),
        Compared(
            "time of one step (median)",
            _said(duration(predicted_step)),
            duration(step),
            _ratio(step, predicted_step),
        ),
    ]


def _said(text: str) -> str:
    return "not predicted" if text == "missing" else text


def _ratio(observed: float | None, planned: int | None) -> float | None:
    return observed / planned if observed is not None and planned else None

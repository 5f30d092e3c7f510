"""The axes of K: how a raw measurement becomes a number in [0, 1].

`kolm-k/vlm-1` is the definition that gates; `k-score-1` is the published one, computed beside it.
specs/formats/kscore.md 3 and 4 give formulae, reasons and anchors.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DEFINITION = "kolm-k/vlm-1"
WEIGHTS = {"A": 40, "S": 15, "L": 15, "C": 15, "V": 15}
"""Weight of each axis, in hundredths."""

MICRO = 1_000_000


def weighted(axes: Mapping[str, float | None]) -> float | None:
    """Combine axes, each rounded to 6 decimals, into K rounded to 6 decimals; None if one is missing.

    The sum is taken in whole millionths, ties to even, so that anyone who has the five printed numbers
    gets the printed K.
    """
    total = 0
    for name, weight in WEIGHTS.items():
        value = axes[name]
        if value is None:
            return None
        total += weight * round(value * MICRO)
    whole, rest = divmod(total, 100)
    return (whole + (rest > 50 or (rest == 50 and whole % 2 == 1))) / MICRO


def clamp01(value: float) -> float:
    """Cut to [0, 1]; what is not finite becomes 0."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def size_axis(adapter_bytes: int, base_bytes: int) -> float:
    """S: 0 at the size of the base, 1 at a thousandth of it or less."""
    if adapter_bytes <= 0 or base_bytes <= 0:
        return 0.0
    return clamp01(-math.log10(adapter_bytes / base_bytes) / 3)


def latency_axis(p95_s: float, budget_s: float) -> float:
    """L: 1 within the budget, then halved for each further budget the 95 % point takes."""
    return 1.0 if p95_s <= budget_s else float(2.0 ** -(p95_s / budget_s - 1))


def cost_axis(base_flop: Floats, tuned_flop: Floats) -> Floats:
    """C: arithmetic of the base per call over that of the tuned model, at most 1, element by element."""
    return np.where(tuned_flop <= base_flop, 1.0, base_flop / np.maximum(1.0, tuned_flop))


def size_axis_1(size_bytes: int) -> float:
    """S of k-score-1: 1 at 1 KiB, 0 at 1 TiB, linear in the logarithm."""
    return clamp01(1 - math.log2(max(1.0, size_bytes / 1024)) / 30)


def latency_axis_1(p50_us: float) -> float:
    """L of k-score-1: one half at 100 ms."""
    return 1 / (1 + p50_us / 100_000)


def cost_axis_1(usd_per_call: float) -> float:
    """C of k-score-1: one half at a tenth of a cent per call."""
    return 1 / (1 + 1000 * usd_per_call)

"""The normalisations of both definitions against their anchors."""

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm import axes

FORMATS = Path(__file__).parents[2] / "specs/formats"
VECTORS = json.loads((FORMATS / "vectors/kscore.json").read_text())
PAGE = (FORMATS / "kscore.md").read_text()
PUBLISHED, OWN = VECTORS["k-score-1"], VECTORS["kolm-k/vlm-1"]
UNIT = st.integers(0, 10**6).map(lambda micro: micro / 10**6)
FIVE = st.fixed_dictionaries({name: UNIT for name in "ASLCV"})


@pytest.mark.parametrize(
    ("function", "cases"),
    [(axes.size_axis_1, "S"), (axes.latency_axis_1, "L"), (axes.cost_axis_1, "C")],
    ids=["size", "latency", "cost"],
)
def test_k_score_1_reproduces_the_published_anchors(function, cases: str) -> None:
    for raw, wanted in PUBLISHED[cases]:
        assert function(raw) == pytest.approx(wanted, abs=5e-5), raw


@pytest.mark.parametrize(
    ("function", "cases"),
    [(axes.size_axis, "S"), (axes.latency_axis, "L"), (axes.cost_axis, "C")],
    ids=["size", "latency", "cost"],
)
def test_the_vlm_definition_reproduces_its_anchors(function, cases: str) -> None:
    for first, second, wanted in OWN[cases]:
        assert function(first, second) == pytest.approx(wanted, abs=5e-7), (first, second)


@pytest.mark.parametrize("case", [*PUBLISHED["K"], *OWN["K"]])
def test_k_is_the_weighted_sum(case: dict) -> None:
    assert axes.weighted(case["axes"]) == case["value"]


@given(FIVE)
def test_k_is_the_exact_sum_rounded_to_six_decimals_ties_to_even(values: dict[str, float]) -> None:
    exact = sum(Fraction(axes.WEIGHTS[name], 100) * round(values[name] * 10**6) for name in values)
    assert axes.weighted(values) == round(exact) / 10**6


@given(FIVE)
def test_k_lies_between_0_and_1(values: dict[str, float]) -> None:
    assert 0 <= axes.weighted(values) <= 1


@given(FIVE, UNIT)
def test_k_never_falls_when_accuracy_rises(values: dict[str, float], other: float) -> None:
    low, high = sorted((values["A"], other))
    assert axes.weighted({**values, "A": low}) <= axes.weighted({**values, "A": high})


@given(FIVE, st.sampled_from("ASLCV"))
def test_a_missing_axis_is_a_missing_k(values: dict[str, float], name: str) -> None:
    assert axes.weighted({**values, name: None}) is None


def test_weights_sum_to_one() -> None:
    assert sum(axes.WEIGHTS.values()) == 100


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_becomes_zero(value: float) -> None:
    assert axes.clamp01(value) == 0.0


def test_a_size_that_is_not_one_scores_nothing() -> None:
    assert axes.size_axis(0, 100) == axes.size_axis(100, 0) == 0.0


EXAMPLES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("### 4.1")[1].split("\n## 5")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| example")
]


def inputs_of(text: str) -> dict[str, float]:
    return {name: float(number) for name, number in (pair.rsplit(" ", 1) for pair in text.split(", "))}


def weighted(*axis: float) -> float:
    return 0.40 * axis[0] + 0.15 * sum(axis[1:])


def size_1(size: float) -> float:
    return 1 - math.log2(size / 1024) / 30


FORMULAE = {
    "K": lambda i: weighted(i["A"], i["S"], i["L"], i["C"], i["V"]),
    "k-score-1": lambda i: weighted(
        i["A"], size_1(i["size"]), 1 / (1 + i["p50"] / 0.1), 1 / (1 + 1000 * i["USD"]), i["V"]
    ),
    "S of k-score-1": lambda i: size_1(i["size"]),
    "L": lambda i: 2 ** -((i["p95"] - i["budget"]) / i["budget"]),
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0])
def test_published_examples_that_do_not_reproduce_give_what_the_page_says(example: list[str]) -> None:
    _, formula, given_inputs, gives, printed = example
    found = FORMULAE[formula](inputs_of(given_inputs))
    assert found == pytest.approx(float(gives), abs=5e-5)
    assert abs(found - float(printed)) > 0.004, "this example does reproduce"


def test_there_are_published_examples_that_do_not_reproduce() -> None:
    assert len(EXAMPLES) == 7

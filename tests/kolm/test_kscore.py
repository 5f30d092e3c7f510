"""K against its vector, against a slow second implementation, and the laws it keeps."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kolm import intervals
from kolm.canonical import canonical_json
from kolm.errors import DataError
from kolm.kscore import CostModel, GateFacts, KInputs, Thresholds, compute_k, judge
from tests.kolm.score_inputs import OUTPUTS, VECTOR, answers, make, vector_inputs


def test_the_document_is_that_of_the_vector() -> None:
    assert compute_k(vector_inputs()) == VECTOR["k_score"]


def test_the_document_is_canonical_json_and_k_follows_from_its_printed_axes() -> None:
    k = compute_k(make(answers(50)))
    assert json.loads(canonical_json(k)) == k
    weights = {"A": 0.40, "S": 0.15, "L": 0.15, "C": 0.15, "V": 0.15}
    assert k["value"] == pytest.approx(sum(w * k["axes"][n]["value"] for n, w in weights.items()), abs=5.1e-7)


def test_the_interval_is_that_of_a_slow_second_implementation() -> None:
    inputs = vector_inputs()
    names = sorted(set(inputs.clusters))
    values = []
    for replicate in range(intervals.REPLICATES):
        drawn = [names[i] for i in intervals.draw(inputs.seed, replicate, len(names))]
        picked = [i for name in drawn for i, cluster in enumerate(inputs.clusters) if cluster == name]
        if any(inputs.rows[i]["id"] in inputs.timed for i in picked):
            values.append(slow_k(inputs, picked))
    assert len(values) < intervals.REPLICATES, "the vector has replicates without a timed row"
    values.sort()
    bounds = [values[math.ceil(len(values) * share / 1000) - 1] for share in (25, 975)]
    assert compute_k(inputs)["interval"] == [round(bound, 6) for bound in bounds]


def slow_k(inputs: KInputs, picked: list[int]) -> float:
    rows = [inputs.rows[i] for i in picked]
    tuned = [r["outputs"]["tuned"] for r in rows]
    a = sum(o["score"] for o in tuned) / len(rows)
    s = -math.log10(inputs.adapter_bytes / inputs.base_bytes) / 3
    taken = dict(zip(inputs.timed, inputs.tuned_ns, strict=True))
    times = sorted(taken[r["id"]] for r in rows if r["id"] in taken)
    over = times[math.ceil(len(times) * 95 / 100) - 1] / 1e9 / inputs.budget_latency_p95_s
    latency = 1.0 if over <= 1 else 2 ** (1 - over)
    shares = []
    for name in sorted({r["slice"] for r in rows}):
        inside = [r["outputs"]["tuned"] for r in rows if r["slice"] == name]
        usable = [o for o in inside if o["finish"] == "stop" and o["extracted"] is not None]
        shares.append(len(usable) / len(inside))
    c = min(1.0, slow_flop(inputs, rows, "base") / slow_flop(inputs, rows, "tuned"))
    return 0.4 * a + 0.15 * (s + latency + c + sum(shares) / len(shares))


def slow_flop(inputs: KInputs, rows: list[dict[str, Any]], variant: str) -> float:
    params = inputs.cost.language_params + (inputs.cost.added_params if variant == "tuned" else 0)
    return sum(
        2 * params * (r["prompt_tokens"] + r["outputs"][variant]["tokens"])
        + 2 * inputs.cost.vision_params * r["patches"]
        for r in rows
    )


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(8)))
def test_the_order_of_rows_changes_nothing(order: list[int]) -> None:
    inputs = vector_inputs()
    columns = ("rows", "clusters", "metric_ids", "perturbations")
    shuffled = {name: [getattr(inputs, name)[i] for i in order] for name in columns}
    assert compute_k(replace(inputs, **shuffled)) == VECTOR["k_score"]


SCORES = st.lists(
    st.fixed_dictionaries({name: st.floats(0, 1, allow_nan=False) for name in OUTPUTS}),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(scores=SCORES, tuned_ns=st.integers(1, 10**11), adapter=st.integers(1, 10**9))
def test_k_its_axes_and_its_interval_lie_between_0_and_1(
    scores: list[dict[str, float]], tuned_ns: int, adapter: int
) -> None:
    k = compute_k(make(scores, tuned_ns=[tuned_ns] * len(scores), adapter_bytes=adapter))
    numbers = [k["value"], *k["interval"], *(axis["value"] for axis in k["axes"].values())]
    assert all(0 <= number <= 1 for number in numbers)
    assert k["interval"][0] <= k["interval"][1]


@settings(max_examples=25, deadline=None)
@given(scores=SCORES, better=st.floats(0, 1))
def test_k_and_its_interval_never_fall_when_an_answer_gets_better(
    scores: list[dict[str, float]], better: float
) -> None:
    low, high = sorted((scores[0]["tuned"], better))
    before, after = (compute_k(make([{**scores[0], "tuned": value}, *scores[1:]])) for value in (low, high))
    assert before["value"] <= after["value"]
    assert before["interval"][0] <= after["interval"][0]


def test_another_seed_moves_the_interval_but_not_the_value() -> None:
    scores = [{**each, "tuned": i / 37} for i, each in enumerate(answers(37))]
    first, second = (compute_k(make(scores, seed=seed)) for seed in (0, 1))
    assert first["value"] == second["value"]
    assert first["interval"] != second["interval"]


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"tuned_ns": None}, "L"),
        ({"base_bytes": 0}, "S"),
        ({"adapter_bytes": 0}, "S"),
    ],
    ids=["no timings", "no base size", "no adapter size"],
)
def test_what_was_not_measured_is_null_and_fails_the_gate(changes: dict, missing: str) -> None:
    k = compute_k(make(answers(200), **changes))
    axis = k["axes"][missing]
    assert (k["value"], k["interval"], axis["value"], axis["raw"], axis["evidence"]) == (
        None, None, None, None, "absent",
    )  # fmt: skip
    assert k["other"]["k-score-1"]["value"] is None or changes == {"base_bytes": 0}
    facts = GateFacts(overlaps=0, near_duplicates=0, frozen_changed=0, rows=200, least_slice=66)
    gate = judge(k, facts=facts, thresholds=Thresholds(0.5, 0.5))
    assert gate["verdict"] == "FAIL"


def test_without_tuned_answers_there_is_no_accuracy_coverage_cost_or_gain() -> None:
    k = compute_k(make([{"base": 1.0}] * 5))
    assert [name for name, axis in k["axes"].items() if axis["value"] is None] == ["A", "C", "V"]
    assert (k["accuracy"]["tuned"], k["accuracy"]["gain"], k["accuracy"]["macro"]) == (None, None, None)


def test_an_answer_that_was_cut_off_or_not_read_is_not_coverage() -> None:
    inputs = make(answers(10))
    inputs.rows[1]["outputs"]["tuned"]["finish"] = "length"
    inputs.rows[2]["outputs"]["tuned"]["extracted"] = None
    # rows 0, 3, 6, 9 are `parity`, the other six `read`: (4/4 + 4/6) / 2
    assert compute_k(inputs)["axes"]["V"]["value"] == 0.833333


def test_a_declared_slice_without_rows_counts_as_nothing_covered() -> None:
    k = compute_k(make(answers(9), declared_slices=["parity", "read", "sum"]))
    assert k["axes"]["V"]["value"] == 0.666667
    assert k["accuracy"]["slices"]["sum"]["n"] == 0


def test_a_longer_answer_than_the_base_gives_costs() -> None:
    inputs = make(answers(10), cost=CostModel(language_params=1000, added_params=0, vision_params=0))
    assert compute_k(inputs)["axes"]["C"]["value"] == 1.0
    for each in inputs.rows:
        each["outputs"]["tuned"]["tokens"] = 2 + 42
    assert compute_k(inputs)["axes"]["C"]["value"] == 0.5


def test_the_published_score_stands_beside_and_says_that_the_cost_was_declared() -> None:
    other = compute_k(make(answers(20), adapter_bytes=1 << 20))["other"]
    assert other["k-score-1"]["axes"]["S"] == 0.666667
    assert other["k-score-1"]["cost"] == {"usd_per_call": 0, "evidence": "declared local"}
    assert other["latency"]["tuned_over_base"] == pytest.approx(10 / 9, rel=0.01)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: make([]), "no eval rows"),
        (lambda: make(answers(3), clusters=["a"]), "differ in length"),
        (lambda: make(answers(3), tuned_ns=[1]), "differ in length"),
        (lambda: make(answers(3), perturbations=["jpeg"]), "differ in length"),
        (lambda: make(answers(3), timed=["r0", "r1", "r9"]), "not rows of the eval"),
        (lambda: make(answers(3), timed=["r0", "r1", "r1"]), "not rows of the eval"),
        (lambda: make(answers(3), timed=[], tuned_ns=[], base_ns=[]), "not rows of the eval"),
        (lambda: make([dict.fromkeys(OUTPUTS, 1.5)]), "row r0: a score is not in"),
        (lambda: make([dict.fromkeys(OUTPUTS, float("nan"))]), "row r0: a score is not in"),
        (lambda: make(answers(3), budget_latency_p95_s=0), "latency budget"),
        (
            lambda: vector_inputs(rows=[{**r, "patches": 1 << 60} for r in VECTOR["inputs"]["rows"]]),
            "not credible",
        ),
    ],
    ids=[
        "no rows",
        "short clusters",
        "short timings",
        "short perturbations",
        "a time of another row",
        "a row timed twice",
        "nothing timed",
        "score over 1",
        "score NaN",
        "no budget",
        "absurd count",
    ],
)
def test_inputs_no_score_can_be_computed_from(broken, said: str) -> None:
    with pytest.raises(DataError, match=said):
        compute_k(broken())


def test_only_the_timed_rows_decide_the_latency() -> None:
    slow = [10_000_000, 10_000_000, 4_000_000_000]
    k = compute_k(make(answers(40), timed=["r3", "r7", "r20"], base_ns=[5_000_000] * 3, tuned_ns=slow))
    assert k["axes"]["L"] | {"value": None} == {
        "value": None,
        "raw": {"p95_s": 4.0, "budget_s": 1.0},
        "unit": "s",
        "norm": "p95-within-budget",
        "evidence": "attested",
    }
    assert k["axes"]["L"]["value"] == 0.125
    assert k["other"]["latency"] == {"base_p50_s": 0.005, "tuned_p50_s": 0.01, "tuned_over_base": 2.0}
    assert k["other"]["k-score-1"]["axes"]["L"] == round(1 / 1.1, 6)


def test_a_perturbed_answer_weighs_nothing() -> None:
    scores = answers(30)
    worse = [{**each, "perturbed": 0.0} for each in scores]
    before, after = (compute_k(make(each)) for each in (scores, worse))
    assert (before["value"], before["interval"]) == (after["value"], after["interval"])
    assert before["accuracy"]["consistency"] != after["accuracy"]["consistency"]


def test_five_hundred_rows_take_less_than_a_second() -> None:
    inputs = make(answers(500))
    compute_k(inputs)
    started = time.perf_counter()
    compute_k(inputs)
    assert time.perf_counter() - started < 1.0


def test_the_example_of_the_format_page_has_the_members_of_a_document() -> None:
    page = (Path(__file__).parents[2] / "specs/formats/kscore.md").read_text()
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    k = compute_k(make(answers(20)))
    assert example.keys() == k.keys()
    assert example["accuracy"].keys() == k["accuracy"].keys()
    for name in ("gain", "image_gain", "consistency"):
        assert example["accuracy"][name].keys() - {"by"} == k["accuracy"][name].keys() - {"by"}, name
    assert example["accuracy"]["slices"]["read"].keys() == k["accuracy"]["slices"]["read"].keys()
    assert {name: axis.keys() for name, axis in example["axes"].items()} == {
        name: axis.keys() for name, axis in k["axes"].items()
    }
    assert {(axis["unit"], axis["norm"], axis["evidence"]) for axis in example["axes"].values()} == {
        (axis["unit"], axis["norm"], axis["evidence"]) for axis in k["axes"].values()
    }

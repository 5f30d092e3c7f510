"""The gate's verdict for each way a run can go wrong."""

from dataclasses import replace
from typing import Any

import pytest

from kolm.gate import GateFacts, Thresholds, judge

FACTS = {"overlaps": 0, "near_duplicates": 0, "frozen_changed": 0, "rows": 500, "least_slice": 30}
LIMITS = Thresholds(k=0.85, min_accuracy=0.8)


def document(**changes: Any) -> dict[str, Any]:
    lower = {"k": 0.86, "tuned": 0.81, "gain": 0.01, "image_gain": 0.01, "V": 0.95} | changes

    def measured(name: str) -> dict[str, Any] | None:
        return None if lower[name] is None else {"interval": [lower[name], 1.0]}

    return {
        "interval": None if lower["k"] is None else [lower["k"], 1.0],
        "axes": {"V": {"value": lower["V"]}},
        "accuracy": {name: measured(name) for name in ("tuned", "gain", "image_gain")},
    }


def failing(gate: dict[str, Any]) -> list[str]:
    return [condition["id"] for condition in gate["conditions"] if condition["ok"] is False]


def test_everything_met_passes_and_every_condition_is_written_down() -> None:
    gate = judge(document(), facts=GateFacts(**FACTS), thresholds=LIMITS)
    assert gate["verdict"] == "PASS"
    assert [(c["id"], c["required"], c["observed"], c["ok"]) for c in gate["conditions"]] == [
        ("k_lower", 0.85, 0.86, True),
        ("accuracy_lower", 0.8, 0.81, True),
        ("gain_over_base", 0, 0.01, True),
        ("image_gain", 0, 0.01, True),
        ("coverage", 0.95, 0.95, True),
        ("no_leak", 0, 0, True),
        ("no_near_duplicate", 0, 0, True),
        ("frozen_unchanged", 0, 0, True),
        ("enough_rows", 100, 500, True),
        ("enough_per_slice", 30, 30, True),
    ]


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"k": 0.849999}, "k_lower"),
        ({"tuned": 0.799999}, "accuracy_lower"),
        ({"gain": 0.0}, "gain_over_base"),
        ({"image_gain": 0.0}, "image_gain"),
        ({"V": 0.949999}, "coverage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_measurement_short_of_its_threshold_fails(changes: dict, condition: str) -> None:
    gate = judge(document(**changes), facts=GateFacts(**FACTS), thresholds=LIMITS)
    assert gate["verdict"] == "FAIL"
    assert failing(gate) == [condition]


@pytest.mark.parametrize("name", ["k", "tuned", "gain", "image_gain", "V"])
@pytest.mark.parametrize("rows", [500, 5], ids=["enough rows", "few rows"])
def test_a_missing_measurement_fails(name: str, rows: int) -> None:
    gate = judge(document(**{name: None}), facts=GateFacts(**FACTS | {"rows": rows}), thresholds=LIMITS)
    assert gate["verdict"] == "FAIL"


@pytest.mark.parametrize("rows", [500, 5], ids=["enough rows", "few rows"])
@pytest.mark.parametrize(
    ("fact", "condition"),
    [
        ("overlaps", "no_leak"),
        ("near_duplicates", "no_near_duplicate"),
        ("frozen_changed", "frozen_unchanged"),
    ],
)
def test_a_hard_fact_fails_however_few_the_rows(fact: str, condition: str, rows: int) -> None:
    gate = judge(document(), facts=GateFacts(**FACTS | {fact: 1, "rows": rows}), thresholds=LIMITS)
    assert gate["verdict"] == "FAIL"
    assert condition in failing(gate)


@pytest.mark.parametrize("changes", [{}, {"k": 0.1, "tuned": 0.1}], ids=["good scores", "bad scores"])
@pytest.mark.parametrize(
    ("fact", "condition"),
    [({"rows": 99}, "enough_rows"), ({"least_slice": 29}, "enough_per_slice")],
    ids=["few rows", "a small slice"],
)
def test_too_few_rows_decide_nothing(changes: dict, fact: dict, condition: str) -> None:
    gate = judge(document(**changes), facts=GateFacts(**FACTS | fact), thresholds=LIMITS)
    assert gate["verdict"] == "INCONCLUSIVE"
    assert condition in failing(gate)


def test_near_duplicates_that_nobody_looked_for_are_a_missing_measurement() -> None:
    gate = judge(document(), facts=GateFacts(**FACTS | {"near_duplicates": None}), thresholds=LIMITS)
    assert (gate["verdict"], failing(gate)) == ("FAIL", ["no_near_duplicate"])


def test_without_images_there_is_nothing_to_compare_pictures_for() -> None:
    facts = GateFacts(**FACTS | {"near_duplicates": None}, text_only=True)
    gate = judge(document(image_gain=None), facts=facts, thresholds=LIMITS)
    assert gate["verdict"] == "PASS"
    for name in ("image_gain", "no_near_duplicate"):
        assert {"id": name, "required": None, "observed": None, "ok": None} in gate["conditions"]


@pytest.mark.parametrize("text_only", [False, True], ids=["image", "text"])
def test_without_the_training_data_only_what_it_published_is_judged(text_only: bool) -> None:
    facts = GateFacts(**FACTS | {"near_duplicates": None}, text_only=text_only, trained_on_at_hand=False)
    gate = judge(document(), facts=facts, thresholds=LIMITS)
    assert gate["verdict"] == "PASS"
    judged = {condition["id"]: condition["ok"] for condition in gate["conditions"]}
    assert judged["no_near_duplicate"] is None
    assert judged["no_leak"] is (None if text_only else True)
    leaked = judge(document(), facts=replace(facts, overlaps=1), thresholds=LIMITS)
    assert (leaked["verdict"], failing(leaked)) == ("FAIL", ["no_leak"])

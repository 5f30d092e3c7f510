"""Boxes and points: declared coordinates, never guessed ones."""

import pytest

from kolm.errors import DataError
from kolm.metrics import METRICS, get_metric


def judge(metric: str, answer: str, gold: str) -> tuple[str | None, float]:
    return get_metric(metric).judge(answer, [gold])


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("[0, 0, 10, 10]", "0,0,10,10", 1.0),
        ("[0, 0, 10, 10]", "0,0,10,20", 0.5),
        ("[0, 0, 10, 10]", "5,5,15,15", 0.142857),
        ("[0, 0, 10, 10]", "10,0,20,10", 0.0),  # they touch
        ("[3, 3, 3, 3]", "3,3,3,3", 0.0),  # no area, nothing shared
        ('{"bbox_2d": [0, 0, 10, 10]}', "0,0,10,10", 1.0),
        ("[10, 10, 0, 0]", "0,0,10,10", 0.0),  # corners swapped
    ],
)
def test_intersection_over_union(answer: str, gold: str, expected: float):
    assert judge("iou-pixels@1", answer, gold).score == expected
    assert judge("iou50-pixels@1", answer, gold).score == float(expected >= 0.5)


@pytest.mark.parametrize(
    ("answer", "hit"),
    [("(5, 5)", 1), ("(0, 10)", 1), ("(10.5, 5)", 0), ("[4, 4, 6, 6]", 1), ("click (5, 5)", 1)],
)
def test_a_click_hits_the_box_edges_included(answer: str, hit: int):
    assert judge("click-pixels@1", answer, "0,0,10,10").score == hit


@pytest.mark.parametrize(
    ("metric", "answer"),
    [
        ("iou-unit@1", "[0, 0, 500, 500]"),  # thousandths where shares were declared
        ("iou-thousand@1", "[0, 0, 1280, 720]"),
        ("iou-pixels@1", "[-3, 0, 10, 10]"),
        ("iou-pixels@1", "[0, 0, 10]"),
        ("iou-pixels@1", "[0, 0, 10, 10] or [5, 5, 9, 9]"),  # two answers are none
        ("iou-pixels@1", "0 0 10 10"),
        ("iou-pixels@1", ""),
    ],
)
def test_what_is_outside_the_declared_form_is_no_answer(metric: str, answer: str):
    assert judge(metric, answer, "0,0,1,1") == (None, 0.0)


@pytest.mark.parametrize("gold", ["1,2,3", "a,b,c,d", "10,0,0,10"])
def test_a_gold_that_is_no_box_is_the_packs_mistake(gold: str):
    with pytest.raises(DataError):
        judge("iou-pixels@1", "[0, 0, 1, 1]", gold)


def test_every_metric_is_listed_once_under_its_own_id():
    assert all(metric.id == name and "@" in name for name, metric in METRICS.items())
    assert len(METRICS) == 25

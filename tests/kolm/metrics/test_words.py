"""Short answers: published examples, and what each metric refuses to forgive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.metrics import get_metric

PIX2STRUCT = [
    ("abc", "abc"), ("abc", "Abc"), ("Abc", "abc"), ("100%", "96%"),
    ("100%", "94%"), ("100%", "0.96"), ("100%", "0.94"), ("Don't", "Won't"),
]  # fmt: skip
"""The eight pairs (answer, gold) of pix2struct's metrics_test.py, google-research/pix2struct at 67e9f30."""


def score(metric: str, answer: str, *gold: str) -> float:
    return get_metric(metric).judge(answer, gold).score


@pytest.mark.parametrize(
    ("metric", "published"), [("exact-strict@1", 12.5), ("anls@1", 47.5), ("relaxed@1", 62.5)]
)
def test_the_pairs_of_pix2struct_score_as_published(metric: str, published: float):
    assert 100 * sum(score(metric, a, g) for a, g in PIX2STRUCT) / len(PIX2STRUCT) == pytest.approx(published)


@pytest.mark.parametrize(
    ("answer", "gold", "relaxed", "strict"),
    [
        ("95", "100", 1, 1),
        ("100", "95", 0, 0),  # the measure is not symmetric: 5 % of the gold
        ("2010", "2019", 1, 0),  # a year nine years off
        ("7", "7.2", 1, 1),
        ("19", "20", 1, 0),  # a count that is off by one
        ("0", "0.0", 0, 1),
        ("45%", "45", 0, 0),
        ("45 %", "45%", 1, 1),
        ("$1,234", "1234", 0, 1),
        ("1,23", "123", 0, 0),  # no thousands separator
        ("Germany.", "germany", 0, 1),
        ("nan", "nan", 1, 1),
        ("inf", "100", 0, 0),
    ],
)
def test_relaxed_accuracy_and_its_strict_variant(answer: str, gold: str, relaxed: int, strict: int):
    assert score("relaxed@1", answer, gold) == relaxed
    assert score("relaxed-strict@1", answer, gold) == strict


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("ab", "ac", 0.0),  # exactly half wrong: the paper's threshold is strict
        ("abc", "abd", 0.666667),
        (" ABC ", "abc", 1.0),
        ("", "abc", 0.0),
        ("hello", "goodbye", 0.0),
    ],
)
def test_anls_counts_half_wrong_as_wrong(answer: str, gold: str, expected: float):
    assert score("anls@1", answer, gold) == expected


def test_anls_takes_the_best_accepted_answer():
    assert score("anls@1", "42 km", "42 miles", "42km") == 0.8


@pytest.mark.parametrize(
    ("matches", "expected"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_vqa_accuracy_leaves_each_annotator_out_once(matches: int, expected: float):
    assert score("vqa@1", "cat", *["cat"] * matches, *["dog"] * (10 - matches)) == expected


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("The dog", "dog"), ("two", "2"), ("dont", "don't"), ("Yes!", "yes"), ("a  red,  car", "red car")],
)
def test_vqa_normalises_as_published(answer: str, gold: str):
    assert score("vqa@1", answer, gold) == 1.0


@given(st.text(max_size=20), st.text(min_size=1, max_size=20))
@pytest.mark.parametrize(
    "metric", ["exact@1", "exact-strict@1", "relaxed@1", "relaxed-strict@1", "anls@1", "vqa@1"]
)
def test_every_score_lies_between_0_and_1_and_an_answer_equals_itself(metric: str, answer: str, gold: str):
    assert 0.0 <= score(metric, answer, gold) <= 1.0
    if answer.strip():
        assert score(metric, answer, answer) == 1.0
    else:
        assert score(metric, answer, gold) == 0.0

"""exact@1 against its vectors, and the laws every metric keeps."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import SpecError
from kolm.metrics import METRICS, get_metric
from kolm.metrics.words import plain

VECTORS = json.loads((Path(__file__).parents[2] / "specs/formats/vectors/kscore.json").read_text())["exact@1"]
EXACT = get_metric("exact@1")


@pytest.mark.parametrize(("answer", "gold"), VECTORS["equal"])
def test_answers_that_count_as_equal(answer: str, gold: str) -> None:
    assert EXACT.judge(answer, [gold]).score == 1.0


@pytest.mark.parametrize(("answer", "gold"), VECTORS["different"])
def test_answers_that_count_as_different(answer: str, gold: str) -> None:
    assert EXACT.judge(answer, [gold]).score == 0.0


@pytest.mark.parametrize("raw", VECTORS["unread"])
def test_an_answer_that_cannot_be_read_scores_nothing_even_against_an_empty_gold(raw: str) -> None:
    assert EXACT.judge(raw, ["", "."]) == (None, 0.0)


def test_the_best_of_several_accepted_answers_counts() -> None:
    assert EXACT.score("seven", ["7", "Seven."]) == 1.0
    assert EXACT.score("seven", []) == 0.0


def test_extraction_keeps_case_and_inner_space() -> None:
    assert EXACT.extract(" A  b.\n") == "A  b."


@given(st.text())
def test_the_compared_form_of_a_compared_form_is_itself_but_for_periods(text: str) -> None:
    once = plain(text)
    assert plain(once).rstrip(". ") == once.rstrip(". ")
    assert plain(f"  {text}\n") == once


BEST_OF = [
    metric
    for metric in METRICS.values()
    if metric.id not in ("vqa@1", "bleu@1", "chrf@1")
    and not metric.id.startswith(("json-schema", "iou", "click"))
]
"""Metrics that take any text as gold and count the best of several accepted answers."""


@pytest.mark.parametrize("metric", BEST_OF, ids=lambda metric: metric.id)
@given(raw=st.text(), gold=st.lists(st.text().map(json.dumps)))
def test_every_metric_scores_within_0_and_1_and_never_worse_with_more_gold(
    metric, raw: str, gold: list[str]
) -> None:
    extracted, score = metric.judge(raw, gold)
    assert 0 <= score <= 1
    assert not metric.binary or score in (0, 1)
    assert metric.score(extracted, [*gold, json.dumps(raw)]) >= score


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="unknown metric `exact`") as caught:
        get_metric("exact")
    assert caught.value.hint.startswith("did you mean `exact@1`? known: exact@1, exact-strict@1, ")

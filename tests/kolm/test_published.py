"""Figures that the packages behind the metrics print in their own documentation, through metric ids.

Other published figures stand with what they are about: `metrics/`, `test_intervals`, `test_kscore`.
"""

import json

import pytest

from kolm.metrics import get_metric


def score(metric: str, answer: str, *gold: str) -> float:
    return get_metric(metric).judge(answer, gold).score


def test_rouge_scores_pair():
    """README of rouge-score 0.1.2 gives the pair; the longest common sequence has 5 of 9 and of 8 words."""
    said, wanted = "The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog"
    assert score("rouge-l@1", said, wanted) == pytest.approx(0.588, abs=0.0005)
    assert score("rouge-l@1", said, wanted) == round(2 * 5 / (9 + 8), 6)


def test_sacrebleus_chrf():
    """README of sacrebleu 2.6: chrF2 = 59.73 on its triple; `chrf@1` scores the same text as one row."""
    from sacrebleu.metrics import CHRF

    refs = [
        ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
        ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
    ]
    said = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    assert CHRF().corpus_score(said, refs).score == pytest.approx(59.73, abs=0.005)
    rows = [score("chrf@1", answer, *gold) for answer, *gold in zip(said, *refs, strict=True)]
    assert rows[0] == 1
    assert rows == [
        round(CHRF().corpus_score([answer], [[gold] for gold in golds]).score / 100, 6)
        for answer, *golds in zip(said, *refs, strict=True)
    ]


def test_jiwers_word_error_rate():
    """README of jiwer 4: one of two words is wrong."""
    assert score("wer@1", "hello duck", "hello world") == 0.5


@pytest.mark.parametrize(("said", "errors"), [("", 0), ("silence", 1), ("peaceful silence", 2)])
def test_jiwers_empty_reference(said: str, errors: int):
    """README of jiwer 4, "A note on empty references": every word counts; a pack refuses empty answers."""
    import jiwer

    assert jiwer.wer("", said) == errors
    assert score("wer@1", said, "") == 0  # nothing was read, or nothing is right


def test_anls_stars_dictionary():
    """README of anls_star 1.0: 0.766... for a dictionary whose list is in another order."""
    gold = [{"a": word, "b": ["this", "is", "a", "test"]} for word in ("hello", "world")]
    said = {"a": "hello!", "b": ["a", "test", "this", "be"]}
    assert score("anls-star@1", json.dumps(said), *map(json.dumps, gold)) == pytest.approx(0.766667)

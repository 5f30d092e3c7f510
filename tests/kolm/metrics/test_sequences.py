"""Error rates, BLEU, chrF and ROUGE-L: the libraries' own published figures."""

import pytest

from kolm.metrics import get_metric


def score(metric: str, answer: str, *gold: str) -> float:
    return get_metric(metric).judge(answer, gold).score


def test_the_triple_of_sacrebleus_readme_gives_its_corpus_figure():
    from sacrebleu.metrics import BLEU

    refs = [
        ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
        ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
    ]
    sys = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    assert BLEU().corpus_score(sys, refs).score == pytest.approx(48.53, abs=0.005)
    rows = [score("bleu@1", answer, *gold) for answer, *gold in zip(sys, *refs, strict=True)]
    assert rows[0] == 1.0
    assert 0 < rows[1] < rows[2] < 1


@pytest.mark.parametrize(
    ("answer", "gold", "cer", "wer"),
    [
        ("abc", "abc", 1.0, 1.0),
        ("abd", "abc", 0.666667, 0.0),
        ("the cat", "the cat sat", 0.636364, 0.666667),
        ("a b c d e", "a", 0.0, 0.0),  # more errors than words: the score ends at 0
    ],
)
def test_error_rates_are_taken_off_1(answer: str, gold: str, cer: float, wer: float):
    assert score("cer@1", answer, gold) == cer
    assert score("wer@1", answer, gold) == wer


def test_chrf_and_rouge_l():
    assert score("chrf@1", "the cat", "the cat") == 1.0
    assert 0 < score("chrf@1", "the cab", "the cat") < 1
    assert score("rouge-l@1", "the cat sat", "the cat") == 0.8
    assert score("rouge-l@1", "dog", "the cat") == 0.0

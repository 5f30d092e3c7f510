"""Text as a sequence: error rates, BLEU, chrF and ROUGE-L, each by the library of its field.

A row's score is that of its own answer. Corpus figures are not means of rows; kolm reports means of rows
and says so. Error rates are turned into scores as `1 - rate`, at least 0.
"""

from collections.abc import Sequence


def characters(answer: str, gold: str) -> float:
    """Return 1 - CER: character edits over the characters of the accepted answer (jiwer)."""
    import jiwer

    return 1 - float(jiwer.cer(gold, answer)) if gold else float(not answer)


def spoken(answer: str, gold: str) -> float:
    """Return 1 - WER: word edits over the words of the accepted answer (jiwer)."""
    import jiwer

    return 1 - float(jiwer.wer(gold, answer)) if gold.split() else float(not answer.split())


def bleu(answer: str, gold: Sequence[str]) -> float:
    """Return sentence BLEU over all accepted answers, effective order (sacrebleu), from 0 to 1."""
    from sacrebleu.metrics.bleu import BLEU

    return float(BLEU(effective_order=True).sentence_score(answer, list(gold)).score) / 100


def chrf(answer: str, gold: Sequence[str]) -> float:
    """Return sentence chrF2 over all accepted answers (sacrebleu), from 0 to 1."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(answer, list(gold)).score) / 100


def rouge_l(answer: str, gold: str) -> float:
    """Return the ROUGE-L F measure without stemming (rouge-score)."""
    from rouge_score.rouge_scorer import RougeScorer

    return float(RougeScorer(["rougeL"]).score(gold, answer)["rougeL"].fmeasure)

"""Short answers in words and numbers: exact match, relaxed accuracy, ANLS and VQA accuracy."""

import math
import re
import unicodedata
from collections.abc import Sequence

_ARTICLES = {"a", "an", "the"}
_NUMERALS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_SPELT = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't "
    "he'd he'd've he's how'd how'll how's i've isn't it'd it'd've it'll let's ma'am mightn't mightn't've "
    "might've mustn't must've needn't not've o'clock oughtn't shan't she'd've she's should've shouldn't "
    "shouldn't've somebody'd somebody'll somebody's someone'd someone'll someone's something'd something'll "
    "that's there'd there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've "
    "weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
    "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll you'd you'd've you'll "
    "you're you've"
)
_CONTRACTIONS = {word.replace("'", ""): word for word in _SPELT.split()}
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_CURRENCY = "$€£¥"
_GROUPED = re.compile(r"[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
_YEAR = re.compile(r"(1[0-9]{3}|20[0-9]{2}|2100)")


def plain(answer: str) -> str:
    """Bring an answer to the form in which exact@1 compares (specs/formats/metrics.md 2.1)."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", answer).casefold())
    words = " ".join(folded.split())
    return words.removesuffix(".").rstrip()


def exact(answer: str, gold: str) -> float:
    """Return 1 where both are equal but for case, spacing and a final full stop."""
    return float(plain(answer) == plain(gold))


def exact_strict(answer: str, gold: str) -> float:
    """Return 1 where both are the same characters (NFC, no outer white space)."""
    return float(answer == unicodedata.normalize("NFC", gold).strip())


def relaxed(answer: str, gold: str) -> float:
    """Return relaxed accuracy as ChartQA's authors compute it (arXiv:2203.10244, section 5.1).

    Numbers, `%` understood, within 5 % of the gold; anything else equal but for case. A gold of 0 is
    compared as text, and years pass within 5 %: `relaxed_strict` mends both.
    """
    answer, gold = answer.strip(), gold.strip()
    found, wanted = _number(answer), _number(gold)
    if found is not None and wanted:
        return float(abs(found - wanted) / abs(wanted) <= 0.05)
    return float(answer.lower() == gold.lower())


def relaxed_strict(answer: str, gold: str) -> float:
    """Return relaxed accuracy without its gifts: years and small whole numbers exact.

    Currency signs and thousands separators are read; a percentage equals the same number of per cent only
    if both are written so, or neither is; integers up to 20 and years (1000 to 2100) must be equal.
    """
    found, wanted = _amount(answer), _amount(gold)
    if found is None or wanted is None:
        return exact(answer, gold)
    if answer.strip().endswith("%") != gold.strip().endswith("%"):
        return 0.0
    if _YEAR.fullmatch(gold.strip()) or (wanted == int(wanted) and abs(wanted) <= 20):
        return float(found == wanted)
    return float(abs(found - wanted) <= 0.05 * abs(wanted))


def anls(answer: str, gold: str) -> float:
    """Return the average normalised Levenshtein similarity of one pair (arXiv:1907.00490, equation 1).

    Lower case, white space at the ends removed. The threshold is the paper's: a distance of exactly
    one half scores 0. (Several harnesses score it 0.5.)
    """
    from rapidfuzz.distance import Levenshtein

    a, b = answer.strip().lower(), gold.strip().lower()
    longest = max(len(a), len(b))
    distance = Levenshtein.distance(a, b) / longest if longest else 0.0
    return 1 - distance if distance < 0.5 else 0.0


def vqa(answer: str, gold: Sequence[str]) -> float:
    """Return VQA accuracy (arXiv:1505.00468; visualqa.org/evaluation).

    The mean over all ways to leave one annotator out of min(1, matches / 3), after the published
    normalisation of punctuation, articles, numerals and contractions.
    """
    said, told = _vqa_form(answer), [_vqa_form(text) for text in gold]
    if len(told) == 1:
        return float(said == told[0])
    matches = sum(text == said for text in told)
    shares = [min(1.0, (matches - (text == said)) / 3) for text in told]
    return math.fsum(shares) / len(shares)


def _number(text: str) -> float | None:
    """Read a number as ChartQA does: a plain float, or one with `%`, a hundredth of it."""
    try:
        value = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _amount(text: str) -> float | None:
    """Read a number with currency signs, thousands separators and `%`."""
    bare = text.strip().rstrip("%").strip().strip(_CURRENCY).strip()
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    try:
        value = float(bare)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _vqa_form(answer: str) -> str:
    """Bring an answer to the form in which VQA accuracy compares."""
    text = " ".join(answer.replace("\n", " ").replace("\t", " ").split())
    for mark in _MARKS:
        apart = f"{mark} " in text or f" {mark}" in text or re.search(r"[0-9],[0-9]", text)
        text = text.replace(mark, "" if apart else " ")
    text = re.sub(r"(?<![0-9])\.(?![0-9])", "", text)
    words = [_NUMERALS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)

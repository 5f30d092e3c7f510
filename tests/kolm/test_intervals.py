"""Intervals, tests and the resampling stream against published numbers and plain second implementations."""

import hashlib
import json
import math
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kolm import intervals
from kolm.intervals import detectable_gain, holm, mcnemar, mcnemar_chi2, rows_needed, sign_flip

VECTORS = json.loads((Path(__file__).parents[2] / "specs/formats/vectors/kscore.json").read_text())


@pytest.mark.parametrize("case", VECTORS["wilson"]["cases"])
def test_wilson_reproduces_the_published_intervals(case: dict) -> None:
    assert intervals.wilson(case["successes"], case["n"]) == pytest.approx(case["interval"], abs=5e-5)


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_wilson_interval_holds_the_share_it_was_made_from(successes: int, n: int) -> None:
    low, high = intervals.wilson(min(successes, n), n)
    assert 0 <= low <= min(successes, n) / n <= high <= 1


def test_nothing_counted_says_nothing() -> None:
    assert intervals.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("case", VECTORS["mcnemar"])
def test_mcnemar_against_its_vectors(case: dict) -> None:
    assert mcnemar(case["fixed"], case["broken"]) == pytest.approx(case["p"], abs=5e-7)
    assert mcnemar_chi2(case["fixed"], case["broken"]) == pytest.approx(case["chi2"], abs=5e-7)


def test_mcnemars_statistic_is_that_of_the_published_table() -> None:
    assert round(mcnemar_chi2(86, 150), 3) == 17.356


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_test_of_a_fair_coin(fixed: int, broken: int) -> None:
    n = fixed + broken
    chance = [Fraction(math.comb(n, k), 2**n) for k in range(n + 1)]
    as_extreme = sum(p for p in chance if p <= chance[fixed])
    assert intervals.mcnemar(fixed, broken) == pytest.approx(float(as_extreme))


def test_mcnemar_of_many_rows_neither_overflows_nor_divides_by_zero() -> None:
    assert 0 <= intervals.mcnemar(5000, 1000) < 1e-300 or intervals.mcnemar(5000, 1000) == 0


def test_mcnemar_of_as_many_rows_as_a_stranger_may_send_takes_no_time() -> None:
    began = time.process_time()
    assert intervals.mcnemar(20_000, 20_000) == 1.0
    assert time.process_time() - began < 5


@pytest.mark.parametrize("case", VECTORS["rank"])
def test_nearest_rank_against_its_vectors(case: dict) -> None:
    assert intervals.rank(case["per_mille"], case["n"]) == case["rank"]


def test_a_quantile_is_one_of_the_values() -> None:
    assert intervals.quantile([30, 10, 20, 40], 500) == 20
    assert intervals.quantile([30, 10, 20, 40], 950) == 40


@pytest.mark.parametrize("case", VECTORS["draw"], ids=lambda c: f"{c['seed']}-{c['replicate']}")
def test_the_resampling_stream_is_the_published_one(case: dict) -> None:
    assert intervals.draw(case["seed"], case["replicate"], case["n"]).tolist() == case["indices"]


@given(st.integers(0, 2**53 - 1), st.integers(0, 1999), st.integers(1, 60))
def test_the_resampling_stream_is_what_the_format_page_says(seed: int, replicate: int, n: int) -> None:
    start = b"kolm-resample/1\n" + seed.to_bytes(8, "big") + replicate.to_bytes(8, "big")
    words = hashlib.shake_256(start).digest(4 * n)
    indices = [int.from_bytes(words[4 * i : 4 * i + 4], "big") * n >> 32 for i in range(n)]
    assert intervals.draw(seed, replicate, n).tolist() == indices


def test_every_replicate_draws_as_many_clusters_as_there_are() -> None:
    blocks = list(intervals.resample(7, seed=3, replicates=50))
    counts = np.concatenate(blocks)
    assert counts.shape == (50, 7)
    assert set(counts.sum(axis=1).tolist()) == {7}


def test_blocks_of_replicates_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(intervals.resample(7, seed=3, replicates=50)))
    monkeypatch.setattr(intervals, "_BLOCK", 20)
    blocks = list(intervals.resample(7, seed=3, replicates=50))
    assert len(blocks) == 25
    assert np.array_equal(np.concatenate(blocks), whole)


def test_draws_are_even_over_clusters() -> None:
    counts = np.concatenate(list(intervals.resample(10, seed=0))).sum(axis=0)
    assert counts.sum() == 20_000
    assert np.all(np.abs(counts - 2000) < 5 * math.sqrt(2000))


@pytest.mark.parametrize("case", VECTORS["clusters"])
def test_rows_that_share_a_key_through_others_form_one_cluster(case: dict) -> None:
    ids = [f"r{i}" for i in range(len(case["keys"]))]
    assert intervals.clusters_of(case["keys"], ids) == case["names"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=12))
def test_clusters_do_not_depend_on_the_order_of_rows(images: list[list[str]]) -> None:
    ids = [str(i) for i in range(len(images))]
    forward = dict(zip(ids, intervals.clusters_of(images, ids), strict=True))
    backward = dict(zip(ids[::-1], intervals.clusters_of(images[::-1], ids[::-1]), strict=True))
    assert forward == backward


@pytest.mark.parametrize("case", VECTORS["sign_flip"], ids=lambda case: f"{len(case['differences'])} sums")
def test_sign_flips_against_their_vectors(case: dict) -> None:
    assert sign_flip(case["differences"], seed=case["seed"]) == pytest.approx(case["p"], abs=5e-7)


def slow_sign_flip(differences: list[int], *, seed: int) -> float:
    """The format page word by word, one flip after the other."""
    sums = [value for value in differences if value]
    if not sums:
        return 1.0
    width, as_far = math.ceil(len(sums) / 8), 1
    for first in range(0, 10_000, 1000):
        start = b"kolm-sign-flip/1\n" + seed.to_bytes(8, "big") + first.to_bytes(8, "big")
        stream = hashlib.shake_256(start).digest(1000 * width)
        for flip in range(1000):
            bits = int.from_bytes(stream[flip * width : (flip + 1) * width], "big")
            turned = [bits >> (8 * width - 1 - i) & 1 for i in range(len(sums))]
            total = sum(-value if turn else value for value, turn in zip(sums, turned, strict=True))
            as_far += abs(total) >= abs(sum(sums))
    return as_far / 10_001


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6), max_size=11), st.integers(0, 2**53 - 1))
def test_sign_flips_are_what_the_format_page_says(differences: list[int], seed: int) -> None:
    assert sign_flip(differences, seed=seed) == slow_sign_flip(differences, seed=seed)


def test_sign_flips_agree_with_the_exact_test_on_binary_rows() -> None:
    changes = [1] * 15 + [-1] * 5 + [0] * 30
    assert sign_flip(changes, seed=0) == pytest.approx(mcnemar(15, 5), abs=0.01)
    assert sign_flip([1] * 3070 + [-1] * 2930, seed=0) == pytest.approx(mcnemar(3070, 2930), abs=0.02)


@given(st.lists(st.integers(-(10**6), 10**6), max_size=9))
def test_a_sign_flip_p_is_never_0_and_has_two_sides(differences: list[int]) -> None:
    p = sign_flip(differences, seed=1, flips=50)
    assert 1 / 51 <= p <= 1
    assert p == sign_flip([-value for value in differences], seed=1, flips=50)


@pytest.mark.parametrize("case", VECTORS["holm"])
def test_holm_against_its_vectors(case: dict) -> None:
    assert holm(case["p"]) == pytest.approx(case["adjusted"])


P_VALUES = st.lists(st.floats(0, 1), max_size=8)


@given(P_VALUES, st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], level: float) -> None:
    rejected = set()
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if (len(p_values) - place) * p_values[index] > level:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= level} == rejected


@given(P_VALUES)
def test_holm_only_raises_p_values_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    by_p = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in by_p] == sorted(adjusted)


@pytest.mark.parametrize(
    ("discordant", "gain", "rows"), [(0.20, 0.05, 626), (0.20, 0.10, 155), (0.10, 0.05, 312)]
)
def test_the_rows_that_a_gain_needs(discordant: float, gain: float, rows: int) -> None:
    assert rows_needed(gain, discordant=discordant) == pytest.approx(rows, abs=1.5)
    assert detectable_gain(rows + 2, discordant=discordant) == pytest.approx(gain, rel=0.01)


def test_too_few_rows_find_no_gain_at_all() -> None:
    assert detectable_gain(36, discordant=0.2) is None
    assert detectable_gain(37, discordant=0.2) == pytest.approx(0.2, abs=0.001)


@given(st.integers(37, 10_000))
def test_more_rows_never_find_less(rows: int) -> None:
    few, more = (detectable_gain(n, discordant=0.2) for n in (rows, rows + 10))
    assert few is not None
    assert more is not None
    assert 0 < more <= few <= 0.2

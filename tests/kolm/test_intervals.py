"""Intervals, tests and the resampling stream against published numbers and plain second implementations."""

import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm import intervals

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
    assert intervals.mcnemar(case["fixed"], case["broken"]) == pytest.approx(case["p"], abs=5e-7)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_test_of_a_fair_coin(fixed: int, broken: int) -> None:
    n = fixed + broken
    chance = [Fraction(math.comb(n, k), 2**n) for k in range(n + 1)]
    as_extreme = sum(p for p in chance if p <= chance[fixed])
    assert intervals.mcnemar(fixed, broken) == pytest.approx(float(as_extreme))


def test_mcnemar_of_many_rows_neither_overflows_nor_divides_by_zero() -> None:
    assert 0 <= intervals.mcnemar(5000, 1000) < 1e-300 or intervals.mcnemar(5000, 1000) == 0


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


def test_rows_that_share_an_image_through_others_form_one_cluster() -> None:
    images = [["b"], ["b", "c"], ["c", "a"], ["d"], [], []]
    ids = ["1", "2", "3", "4", "5", "6"]
    assert intervals.clusters_of(images, ids) == ["a", "a", "a", "d", "row:5", "row:6"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=12))
def test_clusters_do_not_depend_on_the_order_of_rows(images: list[list[str]]) -> None:
    ids = [str(i) for i in range(len(images))]
    forward = dict(zip(ids, intervals.clusters_of(images, ids), strict=True))
    backward = dict(zip(ids[::-1], intervals.clusters_of(images[::-1], ids[::-1]), strict=True))
    assert forward == backward

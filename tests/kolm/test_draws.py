"""Rows drawn by hash against their vectors and the format page."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.cid import cid_of
from kolm.draws import PERTURBATIONS, TIMED, perturbation, replayed_rows, timed_rows

VECTOR = json.loads((Path(__file__).parents[2] / "specs/formats/vectors/kscore.json").read_text())["draws"]
IDS = [f"row-{n:03}" for n in range(VECTOR["rows"])]
NAMES = st.lists(st.text("abcdefgh-0123", min_size=1, max_size=6), unique=True, max_size=80)


def sha256(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def test_the_timed_rows_are_those_of_the_vector() -> None:
    drawn = timed_rows(VECTOR["pack"], IDS)
    assert drawn == [row_id for row_id in IDS if row_id not in VECTOR["untimed"]]
    assert len(drawn) == TIMED


@pytest.mark.parametrize("row_id", VECTOR["perturbation"])
def test_a_row_is_changed_as_the_vector_says(row_id: str) -> None:
    assert perturbation(VECTOR["pack"], row_id, has_image=True) == VECTOR["perturbation"][row_id]


def test_the_replayed_rows_are_those_of_the_vector() -> None:
    nonce = bytes.fromhex(VECTOR["nonce"])
    assert replayed_rows(VECTOR["artifact"], nonce, IDS, 4) == VECTOR["replayed"]


@given(NAMES)
def test_the_timed_rows_are_what_the_format_page_says(ids: list[str]) -> None:
    first = sorted(ids, key=lambda row_id: sha256("timed", VECTOR["pack"], row_id))[:50]
    assert timed_rows(VECTOR["pack"], ids) == [row_id for row_id in ids if row_id in first]


@given(NAMES)
def test_a_row_is_changed_as_the_format_page_says(ids: list[str]) -> None:
    for row_id in ids:
        number = int(sha256("perturbed", VECTOR["pack"], row_id)[:13], 16)
        drawn = perturbation(VECTOR["pack"], row_id, has_image=True)
        assert drawn == ["jpeg", "resize", "space"][number % 3]


@given(NAMES)
def test_the_order_of_rows_decides_nothing(ids: list[str]) -> None:
    assert sorted(timed_rows("ab", ids)) == sorted(timed_rows("ab", ids[::-1]))


def test_another_pack_times_other_rows() -> None:
    assert timed_rows("ab", IDS) != timed_rows("cd", IDS)


def test_a_row_without_a_picture_only_has_its_prompt_to_change() -> None:
    assert {perturbation("ab", row_id, has_image=False) for row_id in IDS} == {"space"}


def test_changes_are_drawn_evenly() -> None:
    drawn = Counter(perturbation("ab", str(n), has_image=True) for n in range(3000))
    assert set(drawn) == set(PERTURBATIONS)
    assert all(abs(count - 1000) < 130 for count in drawn.values())


def test_another_nonce_asks_other_rows_again() -> None:
    artifact = cid_of(b"kolm")
    drawn = [replayed_rows(artifact, bytes([n]) * 32, IDS, 10) for n in range(2)]
    assert drawn[0] != drawn[1]
    assert [len(set(each)) for each in drawn] == [10, 10]

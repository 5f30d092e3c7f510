"""The reviewed list: one verdict per line, and nothing in it that could be read in two ways."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import DataError
from kolm.review import Pair, read_review, review_lines

ONE, TWO = "1" * 64, "2" * 64
LINE = {"train": ONE, "eval": TWO, "verdict": "distinct", "by": "Ada"}


def written(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "reviewed.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_verdicts_are_read_by_the_two_pictures(tmp_path: Path) -> None:
    other = LINE | {
        "train": TWO,
        "eval": ONE,
        "verdict": "duplicate",
        "note": "the same sheet, scanned twice",
    }
    read = read_review(written(tmp_path, LINE, "", other))
    assert read.verdicts == {Pair(ONE, TWO): "distinct", Pair(TWO, ONE): "duplicate"}


def test_entries_about_other_pictures_are_counted(tmp_path: Path) -> None:
    read = read_review(written(tmp_path, LINE, LINE | {"eval": ONE}))
    assert read.unused([Pair(ONE, TWO), Pair(TWO, TWO)]) == 1


WRONG: dict[str, tuple[dict[str, Any] | str, str]] = {
    "no JSON": ("{", "not JSON"),
    "no object": ("[]", "not a JSON object"),
    "a member twice": ('{"train": "a", "train": "b"}', "occurs twice"),
    "unknown member": (LINE | {"eval_id": "e1"}, "unknown member 'eval_id'"),
    "no verdict": ({k: v for k, v in LINE.items() if k != "verdict"}, "no `verdict`"),
    "no name": ({k: v for k, v in LINE.items() if k != "by"}, "no `by`"),
    "empty name": (LINE | {"by": " "}, "`by` does not say who looked"),
    "verdict in other words": (LINE | {"verdict": "ok"}, "verdict 'ok' is none of distinct, duplicate"),
    "verdict that is no text": (LINE | {"verdict": True}, "`verdict` is not a text"),
    "row id for a picture": (LINE | {"train": "row-000001"}, "`train` is not the SHA-256 of a picture"),
    "digest in capitals": (LINE | {"eval": "A" * 64}, "`eval` is not the SHA-256 of a picture"),
    "digest with a line end": (LINE | {"eval": TWO + "\n"}, "`eval` is not the SHA-256 of a picture"),
    "endless note": (LINE | {"note": "x" * 1001}, "`note` is longer than 1000 characters"),
    "the same pictures again": (LINE | {"verdict": "duplicate"}, "line 1 is about the same two pictures"),
}


@pytest.mark.parametrize("defect", WRONG)
def test_a_bad_line_is_named_with_its_reason(tmp_path: Path, defect: str) -> None:
    line, reason = WRONG[defect]
    path = written(tmp_path, LINE, line)
    with pytest.raises(DataError) as caught:
        read_review(path)
    assert f"{path}:2: " in caught.value.message
    assert reason in caught.value.message


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        read_review(tmp_path / "gone.jsonl")


PAIRS = st.tuples(*[st.binary(min_size=32, max_size=32).map(bytes.hex)] * 2).map(lambda ends: Pair(*ends))


@given(
    st.lists(st.tuples(PAIRS, st.text(st.characters(exclude_categories=["Cs"]))), unique_by=lambda e: e[0])
)
def test_a_list_to_review_reads_back_as_unreviewed(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[Pair, str]]
) -> None:
    path = tmp_path_factory.mktemp("review") / "reviewed.jsonl"
    path.write_bytes(review_lines(found))
    assert read_review(path).verdicts == dict.fromkeys((pair for pair, _ in found), "unreviewed")

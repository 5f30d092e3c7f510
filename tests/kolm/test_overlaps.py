"""What set and pack share to the bit, and how far texts are the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.dataset import dataset_of, set_document
from kolm.errors import ArtifactError
from kolm.gallery import Gallery
from kolm.overlaps import Overlap, exact_overlaps, folded, shared_groups
from kolm.pack import EvalPack, PackRow, pack_of
from tests.pictures import pack, png_of, row

TRAIN = set_document(dataset_of([row("red"), row("blue")]), validation=dataset_of([row("green")]))


def test_sets_without_a_common_picture_do_not_overlap() -> None:
    assert exact_overlaps(TRAIN, pack(png_of("white"), png_of("black"))) == []


def test_same_file_is_found_by_its_bytes() -> None:
    assert exact_overlaps(TRAIN, pack(png_of("white"), png_of("blue"))) == [
        Overlap("row-000002", "e1", "bytes")
    ]


def test_reencoded_picture_is_found_by_its_pixels() -> None:
    other = png_of("red", compress_level=0)
    assert other != png_of("red")
    assert exact_overlaps(TRAIN, pack(other)) == [Overlap("row-000001", "e0", "pixels")]


def test_validation_rows_count_too() -> None:
    assert exact_overlaps(TRAIN, pack(png_of("green"))) == [
        Overlap("row-000001", "e0", "bytes", "validation")
    ]


def test_every_eval_row_of_a_shared_picture_is_named_once() -> None:
    document = set_document(dataset_of([row("red"), row("red") | {"prompt": "other"}]))
    found = exact_overlaps(document, pack(png_of("red"), png_of("red", compress_level=0)))
    assert [(o.train_id, o.eval_id, o.kind) for o in found] == [
        ("row-000001", "e0", "bytes"),
        ("row-000001", "e1", "pixels"),
    ]


def test_parsed_document_gives_the_same_as_its_bytes() -> None:
    asked = pack(png_of("red"))
    assert exact_overlaps(json.loads(TRAIN), asked) == exact_overlaps(TRAIN, asked)


@pytest.mark.parametrize("document", [{}, json.loads(TRAIN) | {"salt": "x"}, {"rows": []}])
def test_document_that_is_no_set_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ArtifactError) as caught:
        exact_overlaps(document, pack(png_of("red")))
    assert caught.value.check == "E_SCHEMA"


def grouped(*groups: str | None) -> EvalPack:
    rows = [PackRow(f"e{n}", (), f"q{n}", ("r",), "all", group) for n, group in enumerate(groups)]
    return pack_of(name="p", rows=rows, gallery=Gallery(root=Path()))


def test_rows_of_a_group_that_is_trained_on_are_found() -> None:
    train = dataset_of([row("red") | {"group": "table 1"}, row("blue") | {"group": "table 2"}])
    held = dataset_of([row("green") | {"group": "table 3"}])
    document = set_document(train, validation=held)
    assert shared_groups(document, grouped("table 2", "table 4", "table 3", "Table 1")) == ["e0", "e2"]
    assert shared_groups(json.loads(document), grouped("table 1")) == ["e0"]


def test_only_declared_groups_count() -> None:
    train = dataset_of([row("red") | {"id": "e0"}])
    assert shared_groups(set_document(train), grouped(None, None)) == []
    assert train.examples[0].group == train.examples[0].images[0], "a row that names no group has one"


GROUPS = st.sets(st.sampled_from("abcdef"), min_size=1)


@given(GROUPS, GROUPS, st.lists(st.none() | st.sampled_from("abcdef"), min_size=1))
def test_groups_of_two_sets_together_are_those_of_either(
    one: set[str], two: set[str], asked: list[str | None]
) -> None:
    def shared(groups: set[str]) -> set[str]:
        rows = [{"prompt": "q", "response": "r", "group": group} for group in sorted(groups)]
        return set(shared_groups(set_document(dataset_of(rows)), grouped(*asked)))

    assert shared(one | two) == shared(one) | shared(two)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@given(st.text())
def test_folding_leaves_something_of_every_text_that_says_something(text: str) -> None:
    assert bool(folded(text)) == bool(text.split())

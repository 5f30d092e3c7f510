import json
from pathlib import Path

import pytest

from kolm.dataset import dataset_of, set_document
from kolm.errors import ArtifactError
from kolm.gallery import Gallery
from kolm.leaks import Overlap, exact_overlaps, text_overlaps
from kolm.pack import EvalPack, PackRow, pack_of
from tests.pictures import png_of


def row(colour: str, *, level: int = 6) -> dict[str, object]:
    return {"image": png_of(colour, compress_level=level), "prompt": "q", "response": "r"}


def pack(*pictures: bytes) -> EvalPack:
    gallery = Gallery(root=Path())
    rows = [PackRow(f"e{n}", (gallery.add(data),), "q", ("r",), "all") for n, data in enumerate(pictures)]
    return pack_of(name="p", rows=rows, gallery=gallery)


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


def test_every_row_of_a_shared_picture_is_named() -> None:
    document = set_document(dataset_of([row("red"), row("red") | {"prompt": "other"}]))
    found = exact_overlaps(document, pack(png_of("red"), png_of("red", compress_level=0)))
    assert [(o.train_id, o.eval_id, o.kind) for o in found] == [
        ("row-000001", "e0", "bytes"),
        ("row-000002", "e0", "bytes"),
        ("row-000001", "e1", "pixels"),
        ("row-000002", "e1", "pixels"),
    ]


def test_parsed_document_gives_the_same_as_its_bytes() -> None:
    asked = pack(png_of("red"))
    assert exact_overlaps(json.loads(TRAIN), asked) == exact_overlaps(TRAIN, asked)


@pytest.mark.parametrize("document", [{}, json.loads(TRAIN) | {"salt": "x"}, {"rows": []}])
def test_document_that_is_no_set_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ArtifactError) as caught:
        exact_overlaps(document, pack(png_of("red")))
    assert caught.value.check == "E_SCHEMA"


def questions(*prompts: str) -> EvalPack:
    rows = [PackRow(f"e{n}", (), prompt, ("r",), "all") for n, prompt in enumerate(prompts)]
    return pack_of(name="p", rows=rows, gallery=Gallery(root=Path()))


def test_question_that_is_trained_on_word_for_word_is_found() -> None:
    examples = dataset_of([{"prompt": "Two  and two?\n", "response": "4"}]).examples
    assert text_overlaps(examples, questions("Two and three?", "two and TWO?")) == ["e1"]


def test_question_is_looked_for_in_every_user_turn_and_nowhere_else() -> None:
    turns = [("user", "Hello?"), ("assistant", "Hello."), ("user", "Two and two?"), ("assistant", "4")]
    messages = [{"role": role, "content": content} for role, content in turns]
    examples = dataset_of([{"messages": messages}]).examples
    assert text_overlaps(examples, questions("Hello?", "Two and two?", "Hello.", "4")) == ["e0", "e1"]


def test_same_question_about_a_picture_is_another_question() -> None:
    assert text_overlaps(dataset_of([row("red")]).examples, questions("q")) == []
    asked = pack(png_of("white"))
    assert text_overlaps(dataset_of([{"prompt": "q", "response": "r"}]).examples, asked) == []

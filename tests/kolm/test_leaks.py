from pathlib import Path

import pytest
from PIL import Image

from kolm.cid import digest_of
from kolm.dataset import dataset_of, set_document
from kolm.gallery import Gallery
from kolm.images import to_png
from kolm.leaks import NearDuplicate, TextOverlap, near_duplicates, text_overlaps
from kolm.overlaps import exact_overlaps
from kolm.pack import EvalPack, PackRow, pack_of
from tests.lookalikes import cropped, jpeg, sheet
from tests.pictures import pack, png_of, row


def questions(*prompts: str) -> EvalPack:
    rows = [PackRow(f"e{n}", (), prompt, ("r",), "all") for n, prompt in enumerate(prompts)]
    return pack_of(name="p", rows=rows, gallery=Gallery(root=Path()))


def asked_again(*pairs: tuple[str, str], prompts: list[str]) -> list[tuple[str, str]]:
    """Return (eval id, kind) of the questions that are trained on."""
    examples = dataset_of([{"prompt": prompt, "response": response} for prompt, response in pairs]).examples
    return [(found.eval_id, found.kind) for found in text_overlaps(examples, questions(*prompts))]


def test_question_that_is_trained_on_word_for_word_is_found() -> None:
    examples = dataset_of([{"prompt": "Two  and two?\n", "response": "4"}]).examples
    found = text_overlaps(examples, questions("Two and three?", "two and TWO?"))
    assert found == [TextOverlap("row-000001", "e1", "question")]


def test_a_right_answer_that_is_trained_on_too_is_told_apart() -> None:
    assert asked_again(("q?", "other"), ("Q", "R."), prompts=["q"]) == [("e0", "answer")]


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        ("Ｔｗｏ and ２?", "two and 2"),
        ("the ﬁrst", "THE FIRST"),
        ("Straße", "STRASSE"),
        ("a\u00a0 b\t\n", "a b"),
        ("«How much?»", "How much"),
    ],
    ids=["full width", "ligature", "case folding", "white space", "punctuation at the ends"],
)
def test_questions_that_differ_in_their_writing_alone_are_equal(trained: str, asked: str) -> None:
    assert asked_again((trained, "4"), prompts=[asked]) == [("e0", "question")]


@pytest.mark.parametrize("asked", ["two and 3", "two or 2", "twoand 2", "two, and 2"])
def test_other_questions_are_not_equal(asked: str) -> None:
    assert asked_again(("two and 2", "4"), prompts=[asked]) == []


def test_question_is_looked_for_in_every_user_turn_and_nowhere_else() -> None:
    turns = [("user", "Hello?"), ("assistant", "Hi."), ("user", "Two and two?"), ("assistant", "4")]
    messages = [{"role": role, "content": content} for role, content in turns]
    examples = dataset_of([{"messages": messages}]).examples
    found = text_overlaps(examples, questions("Hello?", "Two and two?", "Hi.", "4"))
    assert [overlap.eval_id for overlap in found] == ["e0", "e1"]


def test_same_question_about_a_picture_is_another_question() -> None:
    assert text_overlaps(dataset_of([row("red")]).examples, questions("q")) == []
    asked = pack(png_of("white"))
    assert text_overlaps(dataset_of([{"prompt": "q", "response": "r"}]).examples, asked) == []


def test_near_duplicates_name_pictures_and_all_rows_that_show_them() -> None:
    sheets = [sheet(number) for number in range(4)]
    train = dataset_of([shown(sheets[0]), shown(sheets[1]), shown(sheets[0]) | {"prompt": "again"}])
    held = dataset_of([shown(sheets[2]) | {"id": "held"}])
    copies = [jpeg(sheets[0]), sheets[1].resize((150, 180)), cropped(sheets[2])]
    asked = pack(*(to_png(copy) for copy in copies), to_png(sheets[3]))
    found = near_duplicates([train, held], asked)
    assert [(each.train_ids, each.eval_ids, each.kind) for each in found] == [
        (("row-000001", "row-000003"), ("e0",), "copy"),
        (("row-000002",), ("e1",), "copy"),
        (("held",), ("e2",), "part"),
    ]
    assert found[0].pair.train == digest_of(train.examples[0].images[0]).hex()
    assert all(isinstance(each, NearDuplicate) and 0 <= each.difference <= 0.45 for each in found)


def test_equal_pictures_are_exact_overlaps_and_not_near_duplicates() -> None:
    train = dataset_of([shown(sheet(0))])
    other = to_png(sheet(0)) + b"trailing bytes"
    assert near_duplicates([train], pack(to_png(sheet(0)), other)) == []
    assert [each.kind for each in exact_overlaps(set_document(train), pack(to_png(sheet(0)), other))] == [
        "bytes",
        "pixels",
    ]


def shown(picture: Image.Image) -> dict[str, object]:
    return {"image": picture, "prompt": "q", "response": "r"}

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import cid_of
from kolm.errors import DataError
from kolm.rows import IMAGE_TOKENS, Example, ImagePart, TextPart, Turn, check_text

CID = cid_of(b"picture")
ROW = {
    "id": "row-000001",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "image", "cid": CID}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    ],
    "group": "g",
    "tags": ["animal"],
}


def turn(role: str, *parts: dict[str, object]) -> dict[str, object]:
    return {"role": role, "content": list(parts)}


TEXT = {"type": "text", "text": "words"}
IMAGE = {"type": "image", "cid": CID}
USER, ASSISTANT = turn("user", TEXT), turn("assistant", TEXT)


def test_canonical_row_reads_and_writes_itself() -> None:
    example = Example.from_json(ROW)
    assert example.to_json() == ROW
    assert example.images == (CID,)
    assert example.response == "A cat."


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)


@given(st.lists(st.tuples(texts, texts, st.integers(0, 3)), min_size=1, max_size=4), texts)
def test_any_conversation_survives_its_canonical_form(turns: list[tuple[str, str, int]], group: str) -> None:
    messages = []
    for asked, answer, pictures in turns:
        shown = tuple(ImagePart(cid_of(bytes([n]))) for n in range(pictures))
        messages += [Turn("user", (*shown, TextPart(asked))), Turn("assistant", (TextPart(answer),))]
    try:
        example = Example("a", tuple(messages), group).checked()
    except DataError:
        return
    written = canonical_json(example.to_json())
    assert Example.from_json(parse_canonical(written, what="row")) == example


REFUSED = {
    "no group": ({k: v for k, v in ROW.items() if k != "group"}, "exactly the members"),
    "extra member": (ROW | {"note": 1}, "exactly the members"),
    "a list": ([ROW], "exactly the members"),
    "messages a text": (ROW | {"messages": "hi"}, "not a list"),
    "no messages": (ROW | {"messages": []}, "begin with the user"),
    "empty id": (ROW | {"id": ""}, "id is not 1 to 128"),
    "number as id": (ROW | {"id": 5}, "id is not 1 to 128"),
    "newline in id": (ROW | {"id": "a\nb"}, "printable"),
    "endless group": (ROW | {"group": "g" * 257}, "group is not 1 to 256"),
    "tags a text": (ROW | {"tags": "x"}, "tags is not a list"),
    "tag a number": (ROW | {"tags": [1]}, "tag is not 1 to 128"),
    "unknown role": (ROW | {"messages": [turn("tool", TEXT), ASSISTANT]}, "unknown role 'tool'"),
    "role a list": (ROW | {"messages": [turn([], TEXT), ASSISTANT]}, "unknown role"),  # type: ignore[arg-type]
    "user speaks last": (ROW | {"messages": [USER, ASSISTANT, USER]}, "last turn is not the assistant's"),
    "assistant begins": (ROW | {"messages": [ASSISTANT]}, "begin with the user"),
    "system only": (ROW | {"messages": [turn("system", TEXT)]}, "begin with the user"),
    "late system turn": (ROW | {"messages": [USER, turn("system", TEXT), ASSISTANT]}, "after the first turn"),
    "image in an answer": (ROW | {"messages": [USER, turn("assistant", IMAGE, TEXT)]}, "pictures belong"),
    "empty answer": (
        ROW | {"messages": [USER, turn("assistant", {"type": "text", "text": "  \n"})]},
        "empty response",
    ),
    "empty question": (ROW | {"messages": [turn("user"), ASSISTANT]}, "empty user turn"),
    "extra member in a turn": (
        ROW | {"messages": [USER | {"name": "x"}, ASSISTANT]},
        "members role and content",
    ),
    "extra member in a part": (
        ROW | {"messages": [turn("user", TEXT | {"x": 1}), ASSISTANT]},
        "content part",
    ),
    "cid of another kind": (
        ROW | {"messages": [turn("user", {"type": "image", "cid": "Qm" + "a" * 44}), ASSISTANT]},
        "not a CID",
    ),
    "cid a number": (
        ROW | {"messages": [turn("user", {"type": "image", "cid": 7}), ASSISTANT]},
        "cid is not text",
    ),
    "text a number": (ROW | {"messages": [turn("user", {"type": "text", "text": 7}), ASSISTANT]}, "int"),
}


@pytest.mark.parametrize(("row", "reason"), REFUSED.values(), ids=REFUSED)
def test_broken_row_is_refused_with_its_reason(row: object, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        Example.from_json(row)


def test_question_of_a_picture_alone_is_a_question() -> None:
    assert Example.from_json(ROW | {"messages": [turn("user", IMAGE), ASSISTANT]}).images == (CID,)


@pytest.mark.parametrize("token", [*IMAGE_TOKENS, "<|image_1|>", "<|audio_12|>"])
def test_literal_image_token_is_refused_by_name(token: str) -> None:
    with pytest.raises(DataError, match="literal image token") as caught:
        check_text(f"look at {token} please", what="prompt")
    assert repr(token) in caught.value.message


@pytest.mark.parametrize("text", ["<div>", "a < b > c", "image", "[IMAGE]", "<img src='x'>", "<images>"])
def test_text_that_only_resembles_an_image_token_is_kept(text: str) -> None:
    assert check_text(text, what="prompt") == text


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(DataError, match="surrogate"):
        check_text("\ud83d", what="prompt")


def test_endless_text_is_refused() -> None:
    with pytest.raises(DataError, match="1000001 characters"):
        check_text("a" * 1_000_001, what="prompt")

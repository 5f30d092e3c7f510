import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.captures import Captures
from kolm.cid import cid_of
from kolm.errors import DataError
from kolm.gallery import Gallery
from kolm.pairs import pairs_of, read_pairs
from tests.pictures import png_of, write_png

RED, BLUE = cid_of(png_of("red")), cid_of(png_of("blue"))
PAIR = {"image": "red.png", "prompt": "Colour?", "response": "red"}
DATA_URL = "data:image/png;base64," + base64.b64encode(png_of("red")).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_png(tmp_path / "red.png", "red")
    write_png(tmp_path / "sub" / "blue.png", "blue")
    return tmp_path


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_shorthand_becomes_one_user_and_one_assistant_turn(folder: Path) -> None:
    pairs = read_pairs(jsonl(folder, PAIR))
    assert pairs.refusals == ()
    assert pairs.examples[0].to_json() == {
        "id": "row-000001",
        "messages": [
            {"role": "user", "content": [{"type": "image", "cid": RED}, {"type": "text", "text": "Colour?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "red"}]},
        ],
        "group": RED,
        "tags": [],
    }
    assert pairs.gallery.data(RED) == png_of("red")


def test_import_aliases_lists_ids_groups_and_tags_are_read(folder: Path) -> None:
    row = {"id": "a", "image_path": ["red.png", "sub/blue.png"], "question": "Same?", "answer": "no"}
    pairs = read_pairs(jsonl(folder, row | {"group": "g", "tags": ["t"]}, "", row | {"id": "b"}))
    first, second = pairs.examples
    assert (first.id, first.images, first.group, first.tags) == ("a", (RED, BLUE), "g", ("t",))
    assert (second.id, second.group) == ("b", RED)
    assert pairs.numbers == (1, 3)


def test_row_without_pictures_is_a_text_row(folder: Path) -> None:
    example = read_pairs(jsonl(folder, {"prompt": "2+2?", "response": "4"})).examples[0]
    assert (example.images, example.group) == ((), "row-000001")


WORDS = {"type": "text", "text": "Colour?"}
CONVERSATIONS = {
    "canonical": [{"type": "image", "cid": RED}, WORDS],
    "path": [{"type": "image", "image": "red.png"}, WORDS],
    "openai chat": [{"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}}, WORDS],
    "openai chat, url as text": [{"type": "image_url", "image_url": DATA_URL}, WORDS],
    "openai responses": [{"type": "input_image", "image_url": DATA_URL}, WORDS | {"type": "input_text"}],
}


@pytest.mark.parametrize("content", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_messages_of_every_kind_become_the_same_row(
    content: list[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOLM_HOME", str(folder / "home"))
    blob = Captures.at_home().blob(RED)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(png_of("red"))
    row = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "red"}]}
    pairs = read_pairs(jsonl(folder, row))
    pairs.require_all(source="x")
    assert pairs.examples == read_pairs(jsonl(folder, PAIR)).examples


def asked(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}, {"role": "assistant", "content": "x"}]}


REFUSED: dict[str, tuple[Any, str]] = {
    "not json": ("{", "not JSON"),
    "a list": ([1], "not a JSON object"),
    "doubled member": ('{"prompt": "a", "prompt": "b"}', "occurs twice"),
    "nested beyond reason": ("[" * 100_000, "not JSON"),
    "audio field": (PAIR | {"audio": "a.wav"}, "field 'audio': audio is not trained on"),
    "video field": (PAIR | {"videos": ["a.mp4"]}, "field 'videos': video is not trained on"),
    "misspelt field": (PAIR | {"imge": "x"}, "unknown field 'imge', known are image"),
    "alias and field": (PAIR | {"question": "x"}, "same as another field"),
    "messages and shorthand": (PAIR | {"messages": []}, "both messages and the shorthand"),
    "no prompt": ({"image": "red.png", "response": "x"}, "no prompt"),
    "no response": ({"image": "red.png", "prompt": "x"}, "no response"),
    "empty response": (PAIR | {"response": " \n"}, "empty response"),
    "response a number": (PAIR | {"response": 4}, "response is not text but int"),
    "missing file": (PAIR | {"image": "gone.png"}, "no such image file: gone.png"),
    "no image": (PAIR | {"image": None}, "no image"),
    "empty image list": (PAIR | {"image": []}, "the list is empty"),
    "undecodable": (PAIR | {"image": "pairs.jsonl"}, "not a picture"),
    "web address": (PAIR | {"image": "https://example.org/a.png"}, "URLs are not fetched"),
    "image token in the prompt": (PAIR | {"prompt": "<|image_pad|> what?"}, "literal image token"),
    "image token in the response": (PAIR | {"response": "<image>"}, "literal image token"),
    "tags a text": (PAIR | {"tags": "a"}, "tags is not a list"),
    "messages an object": ({"messages": {}}, "not a list of turns"),
    "turn with extra": (
        {"messages": [{"role": "user", "content": "a", "name": "b"}]},
        "role and content, not content",
    ),
    "content a number": ({"messages": [{"role": "user", "content": 4}]}, "neither text nor a list"),
    "unknown role": (
        {"messages": [{"role": "developer", "content": "a"}, {"role": "assistant", "content": "b"}]},
        "unknown role 'developer'",
    ),
    "audio part": (
        asked({"type": "input_audio", "input_audio": {}}),
        "'input_audio': audio is not trained on",
    ),
    "video part": (asked({"type": "video", "video": "a.mp4"}), "'video': video is not trained on"),
    "file part": (asked({"type": "file", "file": {}}), "file is not trained on"),
    "part of no kind": (asked({"text": "x"}), "neither text nor image"),
    "remote image in messages": (
        asked({"type": "image_url", "image_url": {"url": "http://a/b"}}),
        "not fetched",
    ),
    "unknown captured image": (asked({"type": "image", "cid": BLUE}), "not in the capture store"),
    "half a surrogate": ('{"prompt": "\\ud83d", "response": "x"}', "surrogate"),
}


@pytest.mark.parametrize(("row", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_row_is_reported_by_number_and_the_others_are_kept(
    row: Any, reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOLM_HOME", str(folder / "home"))
    pairs = read_pairs(jsonl(folder, PAIR, row, PAIR))
    assert [example.id for example in pairs.examples] == ["row-000001", "row-000003"]
    assert [refusal.row for refusal in pairs.refusals] == [2]
    assert reason in pairs.refusals[0].reason
    with pytest.raises(DataError, match="1 row refused: row 2: "):
        pairs.require_all(source="pairs.jsonl")


def test_id_that_stands_twice_is_refused(folder: Path) -> None:
    pairs = read_pairs(jsonl(folder, PAIR | {"id": "a"}, PAIR | {"id": "a"}))
    assert [str(refusal) for refusal in pairs.refusals] == ["row 2: its id 'a' is that of row 1"]


def test_many_refusals_are_counted_and_the_first_ten_told(folder: Path) -> None:
    with pytest.raises(DataError, match=r"12 rows refused: row 1: .*row 10: .*; and 2 more"):
        read_pairs(jsonl(folder, *["{"] * 12)).require_all(source="x")


def test_empty_file_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        read_pairs(jsonl(folder)).require_all(source="x")


def csv(folder: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "pairs.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_with_and_without_byte_order_mark(encoding: str, end: str, folder: Path) -> None:
    rows = ['red.png,"Colour, please?",rot', "", f'sub/blue.png,"two{end}lines",bläu', ""]
    text = end.join(["image_path,question,answer", *rows])
    pairs = read_pairs(csv(folder, text, encoding=encoding))
    pairs.require_all(source="x")
    assert [(example.images[0], example.response) for example in pairs.examples] == [
        (RED, "rot"),
        (BLUE, "bläu"),
    ]
    assert pairs.examples[0].messages[0].text == "Colour, please?"


def test_json_lines_tolerate_a_byte_order_mark(folder: Path) -> None:
    path = folder / "pairs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(PAIR).encode())
    assert len(read_pairs(path).examples) == 1


def test_csv_rows_are_refused_one_by_one(folder: Path) -> None:
    text = "image_path,question,answer,id\nred.png,a,b,\nred.png,a\n,a,b,\nred.png,a,b,named\nred.png,a,,\n"
    pairs = read_pairs(csv(folder, text))
    assert [example.id for example in pairs.examples] == ["row-000001", "named"]
    assert [str(refusal) for refusal in pairs.refusals] == [
        "row 2: 2 cells under 4 columns",
        "row 3: no image",
        "row 5: empty response",
    ]


def test_open_quote_in_csv_is_refused(folder: Path) -> None:
    pairs = read_pairs(csv(folder, 'image_path,question,answer\nred.png,a,b\nred.png,"a,b\n'))
    assert len(pairs.examples) == 1
    assert "not CSV" in pairs.refusals[0].reason


BAD_FILES = {
    "header with an open quote": ('"image_path,question\n', "pairs.csv", "the header is not CSV"),
    "header with an endless cell": ("a" * 200_000 + ",b\n", "pairs.csv", "the header is not CSV"),
    "header without names": ("red.png,a,b\n", "pairs.csv", "the header names red.png"),
    "semicolons": ("image_path;question;answer\nred.png;a;b\n", "pairs.csv", "the header names"),
    "doubled column": ("image,image_path,question,answer\n", "pairs.csv", "the header names"),
    "messages column": ("messages,image\n", "pairs.csv", "the header names"),
    "empty csv": ("", "pairs.csv", "the header names nothing"),
    "other suffix": ("", "pairs.xlsx", "neither .jsonl nor .csv"),
}


@pytest.mark.parametrize(("text", "name", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_file_that_holds_no_pairs_is_refused(text: str, name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=reason):
        read_pairs(tmp_path / name)


def test_csv_in_another_encoding_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        read_pairs(csv(folder, "image,prompt,response\nred.png,a,b\n", encoding="utf-16"))


@pytest.mark.parametrize("name", ["gone.jsonl", "gone.csv"])
def test_missing_file_is_a_data_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_pairs(tmp_path / name)


members = st.sampled_from(["type", "role", "content", "text", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner),
    max_leaves=8,
)
fields = st.sampled_from(["image", "prompt", "response", "messages", "id", "group", "tags", "question"])


@given(st.dictionaries(fields, json_values, max_size=5))
def test_any_record_is_a_row_or_a_refusal(record: dict[str, Any]) -> None:
    pairs = pairs_of([(1, record)], gallery=Gallery(root=Path()))
    assert len(pairs.examples) + len(pairs.refusals) == 1

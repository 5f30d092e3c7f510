import json
from pathlib import Path

import pytest

from apps.capture.importers import add_pair, import_file, require_complete
from apps.capture.packs import write_eval_pack
from apps.capture.store import store_at
from kolm.errors import DataError, SpecError
from kolm.pack import load_pack
from tests.pictures import png_of, write_png

CONVERSATION = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "bye"},
    {"role": "assistant", "content": "bye"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_png(tmp_path / "red.png", "red")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    lines = [
        {"image": "red.png", "prompt": "a", "response": "b"},
        {"image": "cut.jpg", "prompt": "a", "response": "b"},
        {"image": "https://example.org/x.png", "prompt": "a", "response": "b"},
        {"image": "red.png", "prompt": "c", "response": "d"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_usable_rows_are_imported_and_the_others_reported(file: Path) -> None:
    store = store_at()
    done = import_file(store, file, namespace="ns")
    assert [example.response for example in store.contents("ns").examples] == ["b", "d"]
    with pytest.raises(DataError) as caught:
        require_complete(done, source="pairs.jsonl", namespace="ns")
    message = caught.value.message
    assert message.startswith(
        "pairs.jsonl: 2 imported into ns, 0 were there already, 2 rows refused: row 2: cut.jpg"
    )
    assert "row 3: 'https://example.org/x.png' is a URL" in message
    again = import_file(store, file, namespace="ns")
    with pytest.raises(DataError, match="0 imported into ns, 2 were there already"):
        require_complete(again, source="pairs.jsonl", namespace="ns")


def test_one_pair_is_added_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "red.png", "red")
    monkeypatch.chdir(tmp_path)
    store = store_at()
    add_pair(store, namespace="ns", images=["red.png"], prompt="a", response="b", group="g")
    assert store.contents("ns").examples[0].group == "g"
    with pytest.raises(DataError, match="empty response"):
        add_pair(store, namespace="ns", images=["red.png"], prompt="a", response="")


def test_refused_pair_leaves_no_namespace_behind(tmp_path: Path) -> None:
    store = store_at()
    with pytest.raises(DataError, match=r"no\.png"):
        add_pair(store, namespace="ns", images=[tmp_path / "no.png"], prompt="a", response="b")
    assert store.namespaces() == []


def test_held_out_rows_become_an_eval_pack(tmp_path: Path) -> None:
    store = store_at()
    write_png(tmp_path / "red.png", "red")
    add_pair(store, namespace="ns", images=[tmp_path / "red.png"], prompt="a", response="b")
    examples = store.contents("ns").examples
    pack = load_pack(write_eval_pack(store, examples, tmp_path / "pack", name="ns"))
    assert [(row.id, row.prompt, row.gold) for row in pack.rows] == [("row-000001", "a", ("b",))]
    assert pack.image_bytes(pack.rows[0].images[0]) == png_of("red")
    with pytest.raises(SpecError, match="not an empty folder"):
        write_eval_pack(store, examples, tmp_path / "pack", name="ns")


def test_conversation_is_no_eval_row(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps({"messages": CONVERSATION}))
    store = store_at()
    import_file(store, path, namespace="ns")
    with pytest.raises(DataError, match="row row-000001 is not one question and one answer"):
        write_eval_pack(store, store.contents("ns").examples, tmp_path / "pack", name="ns")
    assert not (tmp_path / "pack").exists()

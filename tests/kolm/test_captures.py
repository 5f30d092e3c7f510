import json
from pathlib import Path

import pytest

from kolm.canonical import canonical_json
from kolm.captures import Captures, Pin, frozen_bytes, read_frozen
from kolm.cid import cid_of
from kolm.errors import DataError
from kolm.rows import Example, TextPart, Turn

ROW = Example("a", (Turn("user", (TextPart("q"),)), Turn("assistant", (TextPart("r"),))), "g")


def frozen(captures: Captures, data: bytes, *, namespace: str = "ns") -> Pin:
    pin = Pin(namespace, cid_of(data))
    captures.frozen(pin.cid).parent.mkdir(parents=True, exist_ok=True)
    captures.frozen(pin.cid).write_bytes(data)
    return pin


def test_frozen_rows_read_back_by_their_pin(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    pin = frozen(captures, frozen_bytes("ns", (ROW,)))
    assert Pin.parse(str(pin)) == pin
    assert str(pin) == f"capture://ns@{pin.cid}"
    assert read_frozen(captures, pin) == (ROW,)


@pytest.mark.parametrize(
    "text", ["", "ns", "capture://ns", "capture://ns@", "capture://ns@bafk", "capture:/ns@x", "http://ns@x"]
)
def test_text_that_is_no_pin_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not a pinned set"):
        Pin.parse(text)


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "blobs", "sets", "a" * 65, "a\n", "ä"])
def test_name_that_cannot_be_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot name a namespace"):
        Captures(tmp_path).namespace(name)


def test_missing_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not on this machine"):
        read_frozen(Captures(tmp_path), Pin("ns", cid_of(b"")))


def test_changed_set_is_refused(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    pin = frozen(captures, frozen_bytes("ns", (ROW,)))
    captures.frozen(pin.cid).write_bytes(frozen_bytes("ns", (ROW, ROW)))
    with pytest.raises(DataError, match="was changed"):
        read_frozen(captures, pin)


FOREIGN = {
    "not canonical": (b'{ "kind": 1 }', "not canonical JSON"),
    "another kind": (canonical_json({"kind": "x", "namespace": "ns", "rows": []}), "not a kolm-rows/1"),
    "another namespace": (frozen_bytes("other", (ROW,)), "frozen from namespace 'other'"),
    "rows that are none": (
        canonical_json({"kind": "kolm-rows/1", "namespace": "ns", "rows": [1]}),
        "exactly",
    ),
    "rows no list": (
        canonical_json({"kind": "kolm-rows/1", "namespace": "ns", "rows": 1}),
        "not a kolm-rows/1",
    ),
}


@pytest.mark.parametrize(("data", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_document_of_another_kind_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    with pytest.raises(DataError, match=reason):
        read_frozen(captures, frozen(captures, data))


def test_vector_of_the_format_page(format_vectors: Path) -> None:
    """specs/formats/row.md 7: a canonical row, the frozen document of it, and its pin."""
    vector = json.loads((format_vectors / "row.json").read_text(encoding="utf-8"))
    example = Example.from_json(json.loads(vector["row"]))
    assert canonical_json(example.to_json()).decode() == vector["row"]
    assert example.images == (cid_of(vector["picture"].encode()),)
    data = frozen_bytes("ns", (example,))
    assert data.decode() == vector["frozen"]
    assert str(Pin("ns", cid_of(data))) == vector["pin"]

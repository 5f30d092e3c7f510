import json
from pathlib import Path
from typing import Any

import pytest

from kolm.cid import sha256_hex
from kolm.errors import ArtifactError, DataError
from kolm.gallery import Gallery
from kolm.pack import EvalPack, PackRow, load_pack, pack_from_members, pack_members, pack_of, write_pack
from tests.pictures import png_of, write_png

YAML = """\
kolm-pack: 1
name: colours
version: 1
rows: pack.jsonl
cluster: image
slices:
  read: {metric: exact@1}
  name: {metric: exact@1}
"""
ROW = {"id": "a", "image": "red.png", "prompt": "Colour?", "gold": "red", "slice": "read"}


def write(folder: Path, *rows: Any, yaml: str = YAML) -> Path:
    write_png(folder / "red.png", "red")
    write_png(folder / "blue.png", "blue")
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "pack.jsonl").write_text("".join(line + "\n" for line in lines))
    (folder / "pack.yaml").write_text(yaml)
    return folder / "pack.yaml"


def pack_in(folder: Path) -> EvalPack:
    second = {"image": ["blue.png", "red.png"], "prompt": "Both?", "gold": ["no", "No"], "slice": "name"}
    return load_pack(write(folder, ROW, second))


def test_pack_is_read_in_order_with_pictures_relative_to_it(tmp_path: Path) -> None:
    pack = pack_in(tmp_path)
    assert (pack.name, pack.version, pack.cluster) == ("colours", "1", "image")
    assert {name: part.metric for name, part in pack.slices.items()} == {"read": "exact@1", "name": "exact@1"}
    first, second = pack.rows
    assert (first.id, first.prompt, first.gold, first.slice) == ("a", "Colour?", ("red",), "read")
    assert (second.id, second.gold, second.images[1]) == ("row-000002", ("no", "No"), first.images[0])
    assert pack.image_bytes(first.images[0]) == png_of("red")
    assert pack.image(first.images[0]).getpixel((0, 0)) == (255, 0, 0)


def test_only_slice_need_not_be_named(tmp_path: Path) -> None:
    yaml = YAML.replace("  name: {metric: exact@1}\n", "")
    row = {name: value for name, value in ROW.items() if name != "slice"}
    assert load_pack(write(tmp_path, row, yaml=yaml)).rows[0].slice == "read"


def test_members_read_back_to_the_same_pack(tmp_path: Path) -> None:
    pack = pack_in(tmp_path)
    members = pack_members(pack)
    red = sha256_hex(png_of("red"))
    assert members["eval/pack.yaml"] == YAML.encode()
    assert members[f"eval/images/{red}.png"] == png_of("red")
    assert len(members) == 4
    again = pack_from_members(members.__getitem__)
    assert again.rows == pack.rows
    assert again.digest == pack.digest
    assert pack_members(again) == members


def test_written_pack_loads_to_the_same_rows(tmp_path: Path) -> None:
    pack = pack_in(tmp_path)
    again = load_pack(write_pack(pack, tmp_path / "copy"))
    assert (again.rows, again.digest) == (pack.rows, pack.digest)


def test_digest_covers_yaml_rows_and_pictures(tmp_path: Path) -> None:
    digests = {pack_in(tmp_path).digest}
    write_png(tmp_path / "blue.png", "green")
    digests.add(load_pack(tmp_path / "pack.yaml").digest)
    digests.add(load_pack(write(tmp_path, ROW)).digest)
    digests.add(load_pack(write(tmp_path, ROW, yaml=YAML.replace("version: 1", "version: 2"))).digest)
    digests.add(load_pack(write(tmp_path, ROW | {"gold": "rot"})).digest)
    assert len(digests) == 5


def test_vector_of_the_format_page(tmp_path: Path, format_vectors: Path) -> None:
    """specs/formats/pack.md 5: rows member and digest of a pack of one BMP picture."""
    vector = json.loads((format_vectors / "pack.json").read_text())
    (tmp_path / "dot.bmp").write_bytes(bytes.fromhex(vector["image"]))
    pack = load_pack(write(tmp_path, vector["row"], yaml=vector["yaml"]))
    assert pack_members(pack)["eval/pack.jsonl"].decode() == vector["rows_member"]
    assert pack.digest == vector["digest"]


REFUSED = {
    "unknown slice": (ROW | {"slice": "other"}, "slice 'other' is not one of read, name"),
    "no slice among several": ({k: v for k, v in ROW.items() if k != "slice"}, "slice 'None' is not one of"),
    "slice a list": (ROW | {"slice": ["read"]}, "is not one of"),
    "missing image": (ROW | {"image": "gone.png"}, "no such image file: gone.png"),
    "undecodable image": (ROW | {"image": "pack.yaml"}, "not a picture"),
    "doubled id": (ROW, "its id 'a' is that of another row"),
    "unknown field": (ROW | {"answer": "red"}, "unknown field 'answer', known are id, image"),
    "no prompt": (ROW | {"prompt": " "}, "empty prompt"),
    "image token": (ROW | {"prompt": "<image> what"}, "literal image token"),
    "no gold": ({k: v for k, v in ROW.items() if k != "gold"}, "gold is neither"),
    "empty gold": (ROW | {"gold": [" "]}, "gold is neither"),
    "no gold in the list": (ROW | {"gold": []}, "gold is neither"),
    "gold a number": (ROW | {"gold": 3}, "gold is neither"),
    "id a number": (ROW | {"id": 3}, "id is not 1 to 128"),
    "not json": ("{", "not JSON"),
}


@pytest.mark.parametrize(("row", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_row_is_named_by_number_and_reason(row: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 row refused: row 2: ") as caught:
        load_pack(write(tmp_path, ROW, row))
    assert reason in caught.value.message


BROKEN_YAML = {
    "empty": ("", "empty"),
    "misspelt key": (YAML.replace("slices", "slice"), "unknown key `slice`"),
    "another version": (YAML.replace("kolm-pack: 1", "kolm-pack: 2"), "pack.yaml:1:12"),
    "no slices": (YAML.partition("slices")[0] + "slices: {}\n", "slices"),
    "metric without version": (YAML.replace("exact@1", "exact"), "of the form"),
    "cluster of another kind": (YAML.replace("cluster: image", "cluster: row"), "cluster"),
    "aliases": (YAML + "x: &a [1]\ny: *a\n", "anchors"),
}


@pytest.mark.parametrize(("yaml", "reason"), BROKEN_YAML.values(), ids=BROKEN_YAML)
def test_broken_yaml_is_refused_with_its_place(yaml: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_pack(write(tmp_path, ROW, yaml=yaml))
    assert reason in caught.value.message
    assert caught.value.hint


def test_empty_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="eval pack colours is empty"):
        load_pack(write(tmp_path))


def test_missing_files_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pack\.yaml"):
        load_pack(tmp_path / "pack.yaml")
    path = write(tmp_path, ROW)
    (tmp_path / "pack.jsonl").unlink()
    with pytest.raises(DataError, match=r"pack\.jsonl"):
        load_pack(path)


def line(image: str = "", *, slice_: str = "read") -> str:
    """One canonical row of an artifact's pack."""
    names = json.dumps([image] if image else [])
    return f'{{"gold":["x"],"id":"a","image":{names},"prompt":"q","slice":"{slice_}"}}\n'


RED_NAME = f"images/{sha256_hex(png_of('red'))}.png"
TAMPERED = {
    "another picture under the name": ({f"eval/{RED_NAME}": png_of("blue")}, "E_MEMBER_DIGEST"),
    "another suffix": (
        {
            "eval/pack.jsonl": line(f"{RED_NAME[:-3]}jpg"),
            f"eval/{RED_NAME[:-3]}jpg": png_of("red"),
        },
        "E_MEMBER_DIGEST",
    ),
    "rows not canonical": ({"eval/pack.jsonl": json.dumps(ROW) + "\n"}, "E_JSON_CANONICAL"),
    "member of a row missing": ({"eval/pack.jsonl": '{"id":"a"}\n'}, "E_SCHEMA"),
    "name outside the folder": (
        {"eval/pack.jsonl": line("../x.png")},
        "not images/",
    ),
    "slice of no metric": (
        {"eval/pack.jsonl": line(slice_="none")},
        "slice 'none'",
    ),
    "row twice": (
        {"eval/pack.jsonl": line() * 2},
        "stands there twice",
    ),
    "no rows": ({"eval/pack.jsonl": ""}, "is empty"),
}


@pytest.mark.parametrize(("changes", "finding"), TAMPERED.values(), ids=TAMPERED)
def test_tampered_members_are_refused(changes: dict[str, bytes | str], finding: str, tmp_path: Path) -> None:
    changed = {name: data.encode() if isinstance(data, str) else data for name, data in changes.items()}
    members = pack_members(pack_in(tmp_path)) | changed
    with pytest.raises((ArtifactError, DataError)) as caught:
        pack_from_members(members.__getitem__)
    assert (
        finding in {getattr(caught.value, "check", ""), caught.value.message}
        or finding in caught.value.message
    )


def test_pack_of_rows_at_hand_has_one_slice() -> None:
    gallery = Gallery(root=Path())
    row = PackRow("a", (gallery.add(png_of("red")),), "q", ("r",), "all")
    pack = pack_of(name="made", rows=[row], gallery=gallery)
    assert pack_from_members(pack_members(pack).__getitem__).rows == (row,)
    with pytest.raises(DataError, match="is empty"):
        pack_of(name="made", rows=[], gallery=gallery)

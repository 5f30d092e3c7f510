import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kolm.canonical import canonical_json
from kolm.cid import sha256_hex
from kolm.dataset import dataset_of, set_document
from kolm.errors import ArtifactError, DataError
from kolm.gallery import Gallery
from kolm.overlaps import exact_overlaps
from kolm.pack import (
    PIXELS,
    EvalPack,
    PackRow,
    load_pack,
    pack_from_members,
    pack_members,
    pack_of,
    write_pack,
)
from kolm.verify import verify_bundle
from tests.bundles import make_bundle
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


def test_a_picture_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    """Reading it for each mention would take a stranger's artifact minutes."""
    pack = pack_in(tmp_path)
    rows = tuple(replace(row, images=row.images * 50) for row in pack.rows)
    members, asked = pack_members(replace(pack, rows=rows)), Counter[str]()

    def read(name: str) -> bytes:
        asked[name] += 1
        return members[name]

    assert pack_from_members(read).rows == rows
    assert set(asked.values()) == {1}


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


def vector_pack(folder: Path, vector: dict[str, Any]) -> EvalPack:
    (folder / "dot.bmp").write_bytes(bytes.fromhex(vector["image"]))
    return load_pack(write(folder, vector["row"], yaml=vector["yaml"]))


def test_vector_of_the_format_page(tmp_path: Path, format_vectors: Path) -> None:
    """specs/formats/pack.md 7: rows member and digest of a pack of one BMP picture."""
    vector = json.loads((format_vectors / "pack.json").read_text())["shown"]
    pack = vector_pack(tmp_path, vector)
    assert pack_members(pack)["eval/pack.jsonl"].decode() == vector["rows_member"]
    assert pack.digest == vector["digest"]


def test_vector_of_a_withheld_picture(tmp_path: Path, format_vectors: Path) -> None:
    """specs/formats/pack.md 7: the same picture withheld, in a row with a group."""
    vector = json.loads((format_vectors / "pack.json").read_text())["withheld"]
    pack = vector_pack(tmp_path, vector)
    assert pack_members(pack) == {
        "eval/pack.yaml": vector["yaml"].encode(),
        "eval/pack.jsonl": vector["rows_member"].encode(),
        "eval/images.json": vector["images_member"].encode(),
    }
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
    "group a number": (ROW | {"group": 3}, "group is not 1 to 256"),
    "empty group": (ROW | {"group": ""}, "group is not 1 to 256"),
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
    "slice without a name": (YAML.partition("slices")[0] + 'slices: {"": {metric: exact@1}}\n', "printable"),
    "slice that turns the text": (
        YAML.partition("slices")[0] + 'slices: {"a\\u202eb": {metric: exact@1}}\n',
        r"the slice 'a\u202eb' is not named by 1 to 128 printable characters",
    ),
    "more slices than are counted": (
        YAML.partition("slices")[0]
        + f"slices: {{{', '.join(f's{n}: {{metric: exact@1}}' for n in range(101))}}}\n",
        "slices",
    ),
    "metric without version": (YAML.replace("exact@1", "exact"), "of the form"),
    "cluster of another kind": (YAML.replace("cluster: image", "cluster: row"), "cluster"),
    "something else withheld": (YAML + "withhold: rows\n", "withhold"),
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


WITHHELD = YAML + "withhold: images\n"


def withheld_in(folder: Path) -> EvalPack:
    return load_pack(write(folder, ROW, ROW | {"id": "b", "image": ["blue.png", "red.png"]}, yaml=WITHHELD))


def test_group_of_a_row_is_kept_and_read_back(tmp_path: Path) -> None:
    yaml = YAML.replace("cluster: image", "cluster: group")
    pack = load_pack(write(tmp_path, ROW | {"group": "table 3"}, ROW | {"id": "b"}, yaml=yaml))
    again = pack_from_members(pack_members(pack).__getitem__)
    assert [row.group for row in again.rows] == ["table 3", None]
    assert (again.cluster, again.digest) == ("group", pack.digest)
    plain = load_pack(write(tmp_path, ROW, ROW | {"id": "b"}, yaml=yaml))
    assert plain.digest != pack.digest


def test_withheld_pictures_leave_their_pixel_digests(tmp_path: Path) -> None:
    pack = withheld_in(tmp_path)
    members = pack_members(pack)
    assert set(members) == {"eval/pack.yaml", "eval/pack.jsonl", PIXELS}
    told = json.loads(members[PIXELS])
    assert told == {
        sha256_hex(png_of(colour)): pack.gallery.pixels(cid)
        for colour, cid in zip(("red", "blue"), pack.images, strict=True)
    }
    again = pack_from_members(members.__getitem__)
    assert (again.rows, again.digest) == (pack.rows, pack.digest)
    assert (pack.missing, again.missing) == ([], pack.images)
    assert pack_members(again) == members


def test_withheld_picture_cannot_be_shown_and_says_so(tmp_path: Path) -> None:
    again = pack_from_members(pack_members(withheld_in(tmp_path)).__getitem__)
    for ask in (again.image, again.image_bytes):
        with pytest.raises(
            DataError, match="is withheld: the artifact names it and does not hold it"
        ) as caught:
            ask(again.images[0])
        assert "--pack" in caught.value.hint
    with pytest.raises(DataError, match="is withheld"):
        write_pack(again, tmp_path / "copy")


def test_withheld_pack_is_written_with_its_pictures_where_they_are_at_hand(tmp_path: Path) -> None:
    pack = withheld_in(tmp_path)
    again = load_pack(write_pack(pack, tmp_path / "copy"))
    assert (again.missing, again.digest) == ([], pack.digest)


def test_withheld_picture_that_was_trained_on_is_found(tmp_path: Path) -> None:
    """Level 0 compares bytes and pixels of pictures that it never sees."""
    again = pack_from_members(pack_members(withheld_in(tmp_path)).__getitem__)
    copies = [png_of("red"), png_of("blue", compress_level=0), png_of("green")]
    rows = [{"image": data, "prompt": "q", "response": "r"} for data in copies]
    found = exact_overlaps(set_document(dataset_of(rows)), again)
    assert [(overlap.train_id, overlap.eval_id, overlap.kind) for overlap in found] == [
        ("row-000001", "a", "bytes"),
        ("row-000002", "b", "pixels"),
    ]


RED, BLUE = (sha256_hex(png_of(colour)) for colour in ("red", "blue"))
TAMPERED_PIXELS = {
    "no list": (b"[]", "E_SCHEMA"),
    "no digests": (b'{"a":"b"}', "E_SCHEMA"),
    "digest a number": (f'{{"{RED}":1}}'.encode(), "E_SCHEMA"),
    "picture missing": (f'{{"{RED}":"{RED}"}}'.encode(), "E_MEMBER_MISSING"),
    "picture of no row": (
        canonical_json({digest: RED for digest in (RED, BLUE, "0" * 64)}),
        "E_MEMBER_UNLISTED",
    ),
    "not canonical": (f'{{ "{RED}":"{RED}"}}'.encode(), "E_JSON_CANONICAL"),
}


@pytest.mark.parametrize(("data", "check"), TAMPERED_PIXELS.values(), ids=TAMPERED_PIXELS)
def test_tampered_pixel_digests_are_refused(data: bytes, check: str, tmp_path: Path) -> None:
    members = pack_members(withheld_in(tmp_path)) | {PIXELS: data}
    with pytest.raises(ArtifactError) as caught:
        pack_from_members(members.__getitem__)
    assert caught.value.check == check


def test_withheld_picture_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    members = pack_members(withheld_in(tmp_path))
    members["eval/pack.jsonl"] = members["eval/pack.jsonl"].replace(b".png", b".svg")
    with pytest.raises(ArtifactError) as caught:
        pack_from_members(members.__getitem__)
    assert caught.value.check == "E_MEMBER_MISSING"


def test_withheld_picture_of_two_kinds_is_refused(tmp_path: Path) -> None:
    members = pack_members(withheld_in(tmp_path))
    first, second = members["eval/pack.jsonl"].splitlines(keepends=True)
    members["eval/pack.jsonl"] = first.replace(b".png", b".jpg") + second
    with pytest.raises(ArtifactError) as caught:
        pack_from_members(members.__getitem__)
    assert caught.value.check == "E_MEMBER_DIGEST"


def test_null_group_is_not_canonical(tmp_path: Path) -> None:
    members = pack_members(pack_in(tmp_path))
    members["eval/pack.jsonl"] = members["eval/pack.jsonl"].replace(b'],"id"', b'],"group":null,"id"')
    with pytest.raises(ArtifactError) as caught:
        pack_from_members(members.__getitem__)
    assert caught.value.check == "E_SCHEMA"


def test_artifact_with_withheld_pictures_verifies_and_says_whose_word_it_is(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, rows=3, withhold=True)
    assert bundle.members.keys() >= {PIXELS}
    assert not [name for name in bundle.members if name.startswith("eval/images/")]
    report = verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust, base_dir=bundle.base_dir)
    assert report.failure is None
    holdout = next(check for check in report.checks if check.number == 15)
    assert holdout.evidence == "signed only"
    assert "3 pictures are withheld" in holdout.detail


def _beside_the_pictures(members: dict[str, Any]) -> None:
    members[PIXELS] = b"{}"


def _beside_the_digests(members: dict[str, Any]) -> None:
    members[f"eval/images/{RED}.png"] = png_of("red")


BESIDE = {"digests": (False, _beside_the_pictures), "a picture": (True, _beside_the_digests)}


@pytest.mark.parametrize(("withhold", "edit"), BESIDE.values(), ids=BESIDE)
def test_pictures_and_their_digests_never_stand_side_by_side(
    withhold: bool, edit: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, rows=3, withhold=withhold, edit=edit)
    report = verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust)
    assert report.failure is not None
    assert report.failure.code == "E_CHAIN_LINK"

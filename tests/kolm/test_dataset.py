import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kolm.canonical import canonical_json, parse_canonical
from kolm.captures import Captures, Pin, frozen_bytes
from kolm.cid import cid_of
from kolm.dataset import (
    Dataset,
    Salts,
    dataset_of,
    load_dataset,
    parse_set,
    set_document,
    split_by_group,
    split_dataset,
)
from kolm.errors import ArtifactError, DataError
from kolm.rows import Example, TextPart, Turn
from tests.pictures import png_of, shade, write_png

SALTS = Salts(bytes(32), bytes(range(32)))


def rows(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [{"image": shade(n), "prompt": f"q{n}", "response": f"r{n}"} for n in range(start, start + count)]


def write_pairs(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        write_png(folder / f"{n}.png", (n, 0, 99))
    lines = [{"image": f"{n}.png", "prompt": "q", "response": "r"} for n in range(count)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "pairs.jsonl"


def test_file_is_loaded_relative_to_the_spec_with_salts_beside_it(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train")
    dataset = load_dataset("train/pairs.jsonl", root=tmp_path)
    assert dataset.count == 3
    assert dataset.image_bytes(dataset.examples[1].images[0]) == png_of((1, 0, 99))
    assert dataset.image(dataset.examples[1].images[0]).getpixel((0, 0)) == (1, 0, 99)
    assert (tmp_path / "train" / "pairs.salts.json").stat().st_mode & 0o777 == 0o600
    again = load_dataset("train/pairs.jsonl", root=tmp_path)
    assert set_document(again) == set_document(dataset)


def test_one_bad_row_refuses_the_set_and_names_it(tmp_path: Path) -> None:
    path = write_pairs(tmp_path)
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"pairs.jsonl: 1 row refused: row 2: 1.png: .*empty"):
        load_dataset(path.name, root=tmp_path)
    assert not (tmp_path / "pairs.salts.json").exists()


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(text)
    with pytest.raises(DataError, match="holds no rows"):
        load_dataset("pairs.jsonl", root=tmp_path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_dataset("gone.jsonl", root=tmp_path)


def pinned(examples: tuple[Example, ...]) -> str:
    captures = Captures.at_home()
    data = frozen_bytes("ns", examples)
    captures.frozen(cid_of(data)).parent.mkdir(parents=True, exist_ok=True)
    captures.frozen(cid_of(data)).write_bytes(data)
    captures.namespace("ns").mkdir()
    return str(Pin("ns", cid_of(data)))


def test_pinned_set_is_loaded_with_the_salts_of_its_namespace(tmp_path: Path) -> None:
    source = dataset_of(rows(2))
    pin = pinned(source.examples)
    with pytest.raises(DataError, match="not in the capture store"):
        load_dataset(pin, root=tmp_path)
    captures = Captures.at_home()
    for cid in source.gallery:
        captures.blob(cid).parent.mkdir(exist_ok=True)
        captures.blob(cid).write_bytes(source.image_bytes(cid))
    dataset = load_dataset(pin, root=tmp_path)
    assert (dataset.examples, dataset.source) == (source.examples, pin)
    assert dataset.salts == Salts.load_or_create(captures.salts("ns"))
    assert json.loads(set_document(dataset))["salt"] == dataset.salts.salt.hex()


def test_pinned_set_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        load_dataset(pinned(()), root=tmp_path)


def test_rows_in_memory_take_pillow_images_paths_and_base64(tmp_path: Path) -> None:
    path = write_png(tmp_path / "red.png", "red")
    given_as: list[Any] = [
        Image.new("RGB", (8, 8), "red"),
        str(path),
        base64.b64encode(png_of("red")).decode(),
    ]
    dataset = dataset_of([{"image": value, "prompt": "q", "response": "r"} for value in given_as])
    digests = {dataset.gallery.pixels(example.images[0]) for example in dataset.examples}
    assert len(digests) == 1
    with pytest.raises(DataError, match="the rows given: 1 row refused: row 1: no response"):
        dataset_of([{"prompt": "q"}])


def test_set_document_shows_no_row_and_reads_back() -> None:
    train = dataset_of(rows(3), salts=SALTS)
    held = dataset_of(rows(2, start=10), salts=Salts.fresh())
    data = set_document(train, validation=held)
    document = parse_set(data)
    assert ([row.id for row in document.rows], len(document.validation)) == (
        ["row-000001", "row-000002", "row-000003"],
        2,
    )
    assert canonical_json(document.model_dump()) == data
    for secret in (SALTS.key.hex(), "q1", "r1", train.examples[0].images[0]):
        assert secret.encode() not in data


def test_set_document_is_a_function_of_rows_and_salts() -> None:
    data = set_document(dataset_of(rows(3), salts=SALTS))
    assert set_document(dataset_of(rows(3), salts=SALTS)) == data
    assert set_document(dataset_of(rows(3), salts=Salts(SALTS.salt, bytes(32)))) != data
    changed = rows(3)
    changed[2]["response"] = "other"
    before, after = (
        parse_set(document).rows for document in (data, set_document(dataset_of(changed, salts=SALTS)))
    )
    assert before[:2] == after[:2]
    assert (before[2].images, before[2].group) == (after[2].images, after[2].group)
    assert before[2].text != after[2].text


def test_reencoded_picture_keeps_its_pixel_commitment_only() -> None:
    pair = {"prompt": "q", "response": "r"}
    one, other = (
        parse_set(
            set_document(dataset_of([pair | {"image": png_of("red", compress_level=level)}], salts=SALTS))
        )
        for level in (0, 9)
    )
    assert one.rows[0].images[0].pixels == other.rows[0].images[0].pixels
    assert one.rows[0].images[0].bytes != other.rows[0].images[0].bytes


def broken_set(**changes: Any) -> bytes:
    document = parse_canonical(set_document(dataset_of(rows(1), salts=SALTS)), what="set")
    return canonical_json(document | changes)


BROKEN = {
    "extra member": (broken_set(extra=1), "E_SCHEMA"),
    "another kind": (broken_set(kind="kolm-set/2"), "E_SCHEMA"),
    "no rows": (broken_set(rows=[]), "E_SCHEMA"),
    "short salt": (broken_set(salt="00"), "E_SCHEMA"),
    "row without commitments": (broken_set(rows=[{"id": "a"}]), "E_SCHEMA"),
    "not canonical": (b" " + broken_set(), "E_JSON_CANONICAL"),
}


@pytest.mark.parametrize(("data", "check"), BROKEN.values(), ids=BROKEN)
def test_broken_set_document_names_its_check(data: bytes, check: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        parse_set(data)
    assert caught.value.check == check


def example_in(group: str, number: int) -> Example:
    return Example(
        f"{group}/{number}", (Turn("user", (TextPart("q"),)), Turn("assistant", (TextPart("r"),))), group
    )


groups = st.lists(st.sampled_from([f"g{n}" for n in range(60)]), min_size=1, max_size=60)


@given(groups, groups, st.floats(0, 1), st.binary(min_size=32, max_size=32))
def test_split_keeps_groups_whole_and_new_rows_move_none(
    first: list[str], later: list[str], fraction: float, salt: bytes
) -> None:
    old = [example_in(group, n) for n, group in enumerate(first)]
    kept, held = split_by_group(old, fraction=fraction, salt=salt)
    assert sorted([*kept, *held], key=repr) == sorted(old, key=repr)
    assert not {e.group for e in kept} & {e.group for e in held}
    grown = old + [example_in(group, 1000 + n) for n, group in enumerate(later)]
    more_kept, more_held = split_by_group(grown, fraction=fraction, salt=salt)
    assert set(kept) <= set(more_kept)
    assert set(held) <= set(more_held)


def test_larger_fraction_holds_out_more_of_the_same() -> None:
    examples = [example_in(f"g{n}", n) for n in range(500)]
    held = [set(split_by_group(examples, fraction=f, salt=SALTS.salt)[1]) for f in (0, 0.1, 0.3, 1)]
    assert held[0] < held[1] < held[2] < held[3]
    assert 25 < len(held[1]) < 75


def test_split_dataset_refuses_an_empty_side() -> None:
    dataset: Dataset = dataset_of(rows(40), salts=SALTS)
    kept, held = split_dataset(dataset, fraction=0.3)
    assert kept.count + held.count == 40
    assert kept.salts == held.salts == SALTS
    with pytest.raises(DataError, match="leaves 40 rows and 0 rows"):
        split_dataset(dataset, fraction=1e-9)


def test_png_from_pillow_does_not_depend_on_its_metadata() -> None:
    plain = Image.new("RGB", (3, 3), "blue")
    buffer = io.BytesIO()
    plain.save(buffer, "PNG", dpi=(300, 300))
    tagged = Image.open(io.BytesIO(buffer.getvalue()))
    one, other = (dataset_of([{"image": i, "prompt": "q", "response": "r"}]) for i in (plain, tagged))
    assert one.examples == other.examples

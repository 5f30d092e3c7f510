"""What a compile reads before it trains: pictures where the base looks at them, and only there."""

import json
from pathlib import Path

import pytest

from kolm.errors import DataError, SpecError
from kolm.inputs import Inputs, read_inputs, read_leaks
from kolm.spec import load_spec
from tests.lookalikes import cropped, jpeg, sheet
from tests.pictures import png_of

SPEC = """\
kolm: 1
name: inputs
task: answer
base: {model: base}
data: {train: train.jsonl, validation: validation.jsonl, eval: pack.yaml}
eval: {min_accuracy: 0.5}
"""
PACK = "kolm-pack: 1\nname: asked\nversion: 1\nslices: {all: {metric: exact@1}}\n"

SHOWN = {"id": "shown", "image": "red.png", "prompt": "Which colour?"}
TOLD = {"id": "told", "prompt": "Two and two?"}
OTHER = {"id": "other", "prompt": "Two and three?"}


def inputs(
    folder: Path,
    *,
    train: list[dict],
    held: list[dict],
    asked: list[dict],
    sees_images: bool,
    pack: str = PACK,
) -> Inputs:
    """Write a task of these rows and read it."""
    (folder / "base").mkdir()
    (folder / "red.png").write_bytes(png_of("red"))
    for name, rows, answer in (
        ("train", train, "response"),
        ("validation", held, "response"),
        ("pack", asked, "gold"),
    ):
        lines = [json.dumps({**row, answer: "4"}) + "\n" for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "pack.yaml").write_text(pack)
    (folder / "spec.yaml").write_text(SPEC)
    return read_inputs(load_spec(folder / "spec.yaml"), sees_images=sees_images)


def test_a_base_that_sees_images_takes_rows_of_both_kinds(tmp_path: Path) -> None:
    read = inputs(tmp_path, train=[SHOWN, TOLD], held=[OTHER], asked=[SHOWN, TOLD], sees_images=True)
    assert (read.dataset.count, read.validation and read.validation.count) == (2, 1)
    assert (len(read.leaks.overlaps), len(read.leaks.texts)) == (1, 1)


def test_a_base_that_sees_images_is_not_judged_on_text_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pack asked has no image in any row"):
        inputs(tmp_path, train=[SHOWN], held=[TOLD], asked=[TOLD], sees_images=True)


def test_a_text_only_base_takes_rows_of_text(tmp_path: Path) -> None:
    read = inputs(tmp_path, train=[TOLD], held=[OTHER], asked=[OTHER], sees_images=False)
    assert (len(read.leaks.overlaps), len(read.leaks.texts)) == (0, 1), "validation rows count as trained on"


@pytest.mark.parametrize("place", ["train", "held", "asked"])
def test_a_text_only_base_refuses_pictures_by_name(tmp_path: Path, place: str) -> None:
    rows = {"train": [TOLD], "held": [TOLD], "asked": [OTHER]} | {place: [OTHER, SHOWN]}
    with pytest.raises(DataError, match="rows that show images, which a text-only base never sees: shown"):
        inputs(tmp_path, **rows, sees_images=False)


def test_a_metric_for_a_slice_that_the_pack_lacks(tmp_path: Path) -> None:
    inputs(tmp_path, train=[TOLD], held=[TOLD], asked=[OTHER], sees_images=False)
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("{min_accuracy: 0.5}", "{min_accuracy: 0.5, metric: {some: exact@1}}"))
    with pytest.raises(SpecError, match="no slice `some`"):
        read_inputs(load_spec(spec), sees_images=False)


def lookalikes(folder: Path, *lines: dict[str, str]) -> Path:
    """Write a task whose eval pictures are copies of what is trained on, and a reviewed list."""
    for number in range(3):
        sheet(number).save(folder / f"{number}.png")
    jpeg(sheet(0)).save(folder / "jpeg.png")
    cropped(sheet(1)).save(folder / "crop.png")
    rows = {
        "train": [{"image": f"{number}.png", "prompt": "q", "response": "4"} for number in range(2)],
        "validation": [{"image": "2.png", "prompt": "q", "response": "4"}],
        "pack": [
            {"id": name, "image": f"{name}.png", "prompt": "q", "gold": "4"} for name in ("jpeg", "crop")
        ],
        "reviewed": lines,
    }
    for name, entries in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (folder / "pack.yaml").write_text(PACK)
    (folder / "spec.yaml").write_text(
        SPEC.replace("eval: pack.yaml", "eval: pack.yaml, reviewed: reviewed.jsonl")
    )
    (folder / "base").mkdir(exist_ok=True)
    return folder / "spec.yaml"


def test_near_duplicates_wait_until_a_person_calls_them_distinct(tmp_path: Path) -> None:
    found = read_inputs(load_spec(lookalikes(tmp_path)), sees_images=True).leaks
    assert [each.kind for each in found.near] == ["copy", "part"]
    assert (found.near_duplicates, found.exact) == ({"found": 2, "reviewed": 0, "waiting": 2}, 0)
    one, two = ({**each.pair._asdict(), "by": "Ada"} for each in found.near)

    spec = lookalikes(tmp_path, one | {"verdict": "distinct"}, two | {"verdict": "duplicate"})
    found = read_inputs(load_spec(spec), sees_images=True).leaks
    assert found.near_duplicates == {"found": 2, "reviewed": 1, "waiting": 1}
    assert [each.eval_ids for each in found.waiting] == [("crop",)]

    spec = lookalikes(
        tmp_path, one | {"verdict": "unreviewed"}, two | {"verdict": "distinct", "eval": "0" * 64}
    )
    found = read_inputs(load_spec(spec), sees_images=True).leaks
    assert (found.near_duplicates["waiting"], found.counts()["unused"]) == (2, 1)


def test_leaks_are_found_without_the_base(tmp_path: Path) -> None:
    spec = lookalikes(tmp_path)
    (tmp_path / "base").rmdir()
    sets, found = read_leaks(load_spec(spec))
    assert (sets.dataset.count, len(sets.examples), len(found.waiting)) == (2, 3, 2)


def test_a_bad_reviewed_list_stops_everything_before_the_pictures_are_read(tmp_path: Path) -> None:
    spec = lookalikes(tmp_path, {"verdict": "distinct"})
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataError, match=r"reviewed\.jsonl:1: no `train`"):
        read_inputs(load_spec(spec), sees_images=True)


def test_gold_that_its_metric_cannot_compare_with_is_named_before_training(tmp_path: Path) -> None:
    pack, asked = PACK.replace("exact@1", "iou-thousand@1"), [SHOWN, SHOWN | {"id": "seen"}]
    with pytest.raises(DataError, match=r"row shown for iou-thousand@1: '4' is not a box; row seen for"):
        inputs(tmp_path, train=[SHOWN], held=[OTHER], asked=asked, sees_images=True, pack=pack)

"""What a compile reads before it trains: pictures where the base looks at them, and only there."""

import json
from pathlib import Path

import pytest

from kolm.errors import DataError, SpecError
from kolm.inputs import Inputs, read_inputs
from kolm.spec import load_spec
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
    folder: Path, *, train: list[dict], held: list[dict], asked: list[dict], sees_images: bool
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
    (folder / "pack.yaml").write_text(PACK)
    (folder / "spec.yaml").write_text(SPEC)
    return read_inputs(load_spec(folder / "spec.yaml"), sees_images=sees_images)


def test_a_base_that_sees_images_takes_rows_of_both_kinds(tmp_path: Path) -> None:
    read = inputs(tmp_path, train=[SHOWN, TOLD], held=[OTHER], asked=[SHOWN, TOLD], sees_images=True)
    assert (read.dataset.count, read.validation and read.validation.count) == (2, 1)
    assert (read.overlaps, read.text_overlaps) == (1, 1)


def test_a_base_that_sees_images_is_not_judged_on_text_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pack asked has no image in any row"):
        inputs(tmp_path, train=[SHOWN], held=[TOLD], asked=[TOLD], sees_images=True)


def test_a_text_only_base_takes_rows_of_text(tmp_path: Path) -> None:
    read = inputs(tmp_path, train=[TOLD], held=[OTHER], asked=[OTHER], sees_images=False)
    assert (read.overlaps, read.text_overlaps) == (0, 1), "validation rows count as trained on"


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

"""Asking two models a pack's questions: which outputs are made, and which images the controls are shown."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from apps.eval.run import WARM_UP, evaluate, shuffled_images
from kolm.answers import Answer
from kolm.errors import EvalError
from kolm.gallery import Gallery
from kolm.images import to_png
from kolm.pack import EvalPack, PackRow, load_pack, pack_of

GREY = (128, 128, 128)


def said(text: str) -> Answer:
    return Answer(text, tokens=2, finish="stop", prompt_tokens=20, image_tokens=9, patches=36)


class Reader:
    """Names the colour of the image it is shown; a model small enough to be right about everything."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def ask(self, turns: Sequence, images: Sequence[Image.Image], *, max_new_tokens: int) -> Answer:
        red, green, blue = images[0].getpixel((0, 0))
        self.log.append(turns[-1].text)
        return said("grey" if (red, green, blue) == GREY else f"{red}")


class Broken:
    def ask(self, turns: Sequence, images: Sequence[Image.Image], *, max_new_tokens: int) -> Answer:
        raise RuntimeError("out of memory\nlong trace")


def make_pack(folder: Path, shades: Sequence[int]) -> EvalPack:
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, shade in enumerate(shades):
        (folder / "images" / f"{number}.png").write_bytes(to_png(Image.new("RGB", (8, 8), (shade, 0, 0))))
        row = {"id": f"q{number}", "image": f"images/{number}.png", "prompt": "Shade?", "gold": f"{shade}"}
        lines.append(json.dumps(row | {"slice": "all"}))
    (folder / "pack.jsonl").write_text("\n".join(lines) + "\n")
    head = "kolm-pack: 1\nname: shades\nversion: 1\nrows: pack.jsonl\ncluster: image\n"
    (folder / "pack.yaml").write_text(f"{head}slices:\n  all:\n    metric: exact@1\n")
    return load_pack(folder / "pack.yaml")


@pytest.fixture
def pack(tmp_path: Path) -> EvalPack:
    return make_pack(tmp_path / "pack", [10, 20, 30, 40, 50])


def test_each_row_holds_four_outputs_with_their_scores(pack: EvalPack):
    outputs = evaluate(
        lambda: Reader([]), lambda: Reader([]), pack, metrics={"all": "exact@1"}, max_new_tokens=4
    )
    assert [row["id"] for row in outputs.rows] == [row.id for row in pack.rows]
    for row, asked in zip(outputs.rows, pack.rows, strict=True):
        outputs_of = row["outputs"]
        assert outputs_of["base"]["raw"] == outputs_of["tuned"]["raw"] == asked.gold[0]
        assert outputs_of["tuned"]["score"] == 1
        assert outputs_of["grey"] == {
            "raw": "grey",
            "extracted": "grey",
            "score": 0,
            "tokens": 2,
            "finish": "stop",
        }
        assert outputs_of["shuffled"]["raw"] != asked.gold[0]
        assert (row["prompt_tokens"], row["image_tokens"], row["patches"]) == (20, 9, 36)
    assert len(outputs.base_ns) == len(outputs.tuned_ns) == len(pack.rows)
    assert all(ns > 0 for ns in outputs.base_ns + outputs.tuned_ns)


def test_without_any_image_there_are_no_blind_controls():
    asked: list[str] = []

    class Echo:
        def ask(self, turns: Sequence, images: Sequence, *, max_new_tokens: int) -> Answer:
            assert not images
            asked.append(turns[-1].text)
            return Answer("4", tokens=1, finish="stop", prompt_tokens=9, image_tokens=0, patches=0)

    rows = [PackRow(f"q{n}", (), f"{n} and {n}?", ("4",), "all") for n in range(4)]
    pack = pack_of(name="sums", rows=rows, gallery=Gallery(root=Path()))
    outputs = evaluate(lambda: Echo(), lambda: Echo(), pack, metrics={"all": "exact@1"}, max_new_tokens=4)
    assert [sorted(row["outputs"]) for row in outputs.rows] == [["base", "tuned"]] * len(rows)
    assert len(asked) == 2 * (WARM_UP + len(rows))


def test_questions_are_asked_a_few_times_before_anything_is_timed(pack: EvalPack):
    log: list[str] = []
    evaluate(lambda: Reader(log), lambda: Reader([]), pack, metrics={"all": "exact@1"}, max_new_tokens=4)
    assert len(log) == WARM_UP + len(pack.rows)


def test_the_shuffled_control_shows_every_row_another_image_and_is_the_same_each_time(pack: EvalPack):
    partners = shuffled_images(pack)
    assert partners == shuffled_images(pack)
    shown = {row.id: row.images for row in pack.rows}
    assert all(shown[own] != shown[other] for own, other in partners.items())


def test_rows_that_share_an_image_never_get_it_as_the_shuffled_one(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", [10, 10, 10, 20])
    shown = {row.id: row.images for row in pack.rows}
    assert all(shown[own] != shown[other] for own, other in shuffled_images(pack).items())


def test_a_pack_with_one_picture_has_nothing_to_shuffle(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", [10, 10])
    assert shuffled_images(pack) == {row.id: row.id for row in pack.rows}


def test_a_model_that_fails_names_the_row(pack: EvalPack):
    with pytest.raises(EvalError, match=r"eval row q0: the model failed: out of memory$"):
        evaluate(lambda: Broken(), lambda: Reader([]), pack, metrics={"all": "exact@1"}, max_new_tokens=4)

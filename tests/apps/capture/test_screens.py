"""Drawn screens: boxes to the pixel, questions with one answer, and a pack whose metrics know them."""

from pathlib import Path

import pytest

from apps.capture.renders import source
from apps.capture.screens import SLICES, draw_screen, write_screens
from apps.capture.windows import SIZES, draw_desktop
from kolm.errors import SpecError
from kolm.images import pixel_digest
from kolm.metrics import get_metric
from kolm.pack import EvalPack, load_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> EvalPack:
    folder = tmp_path_factory.mktemp("drawn") / "screens"
    write_screens(folder, rows=22, seed=3)
    return load_pack(folder / "pack.yaml")


@pytest.mark.parametrize("number", range(8))
def test_the_boxes_are_those_that_were_drawn(number: int):
    screen = draw_desktop(source(0, kind="test", number=number))
    picture, framed = screen.picture, [w for w in screen.widgets if w.kind in ("field", "check", "button")]
    assert len(framed) >= 6
    for _, name, (left, top, right, bottom) in framed:
        x, y = int(left + 5), int((top + bottom) / 2)
        for inside, outside in (
            ((left, y), (left - 1, y)),
            ((right - 1, y), (right, y)),
            ((x, top), (x, top - 1)),
            ((x, bottom - 1), (x, bottom)),
        ):
            assert picture.getpixel(inside) != picture.getpixel(outside), name


@pytest.mark.parametrize("number", range(20))
def test_what_can_be_clicked_on_has_one_name_one_place_and_lies_on_the_screen(number: int):
    screen = draw_desktop(source(1, kind="test", number=number))
    names = [(widget.kind, widget.name) for widget in screen.widgets]
    assert len(names) == len(set(names))
    width, height = screen.size
    assert screen.picture.size in SIZES
    for widget in screen.widgets:
        left, top, right, bottom = widget.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    boxes = [widget.box for widget in screen.widgets]
    for at, a in enumerate(boxes):
        for b in boxes[at + 1 :]:
            assert min(a.right, b.right) <= max(a.left, b.left) or min(a.bottom, b.bottom) <= max(
                a.top, b.top
            )


def test_small_targets_are_small_and_each_slice_asks_once():
    for number in range(10):
        drawn = draw_screen(seed=2, number=number)
        assert [task.slice for task in drawn.tasks] == list(SLICES)
        left, _, right, _ = next(task.box for task in drawn.tasks if task.slice == "small")
        assert (right - left) * drawn.picture.width / 1000 <= 14 + 1e-9


def test_a_seed_and_a_number_give_the_same_screen_and_others_another():
    first, again = (draw_screen(seed=7, number=2) for _ in range(2))
    assert pixel_digest(first.picture) == pixel_digest(again.picture)
    assert first.tasks == again.tasks
    others = [draw_screen(seed=7, number=3), draw_screen(seed=8, number=2)]
    assert pixel_digest(first.picture) not in {pixel_digest(other.picture) for other in others}


def test_the_middle_of_the_box_is_right_and_a_point_beyond_its_edge_is_not(pack: EvalPack):
    metrics = {name: part.metric for name, part in pack.slices.items()}
    assert metrics == dict.fromkeys(("icon", "text", "small"), "click-thousand@1") | {
        "where": "iou-thousand@1"
    }
    assert len({row.images for row in pack.rows}) == 6
    for row in pack.rows:
        x1, y1, x2, y2 = (float(edge) for edge in row.gold[0].split(","))
        metric = get_metric(metrics[row.slice])
        assert "in thousandths of the width and height" in row.prompt
        assert metric.judge(f"[{x1}, {y1}, {x2}, {y2}]", row.gold).score == 1
        if row.slice != "where":
            assert metric.judge(f"({(x1 + x2) / 2}, {(y1 + y2) / 2})", row.gold).score == 1
            assert metric.judge(f"({x1 - 0.5}, {(y1 + y2) / 2})", row.gold).score == 0


def test_the_same_seed_writes_the_same_pack(pack: EvalPack, tmp_path: Path):
    write_screens(tmp_path / "again", rows=22, seed=3)
    assert load_pack(tmp_path / "again" / "pack.yaml").digest == pack.digest


def test_a_pack_of_nothing_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="0 rows"):
        write_screens(tmp_path / "none", rows=0, seed=0)

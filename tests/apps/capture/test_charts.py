import hashlib
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from apps.capture.charts import CHARTS, COUNTS, MARKS, PROMPTS, TOP, WORDS, ask, chart_of, chart_rows
from apps.capture.demo import write_demo
from apps.capture.drawing import COLOURS, SIDE, Chart, draw
from apps.capture.tables import TABLES, groups, rounded, tenths
from kolm.dataset import load_dataset
from kolm.errors import SpecError
from kolm.likeness import alike, likeness_of
from kolm.pack import load_pack
from kolm.spec import load_spec
from kolm.trainconfig import Parts

SIDES = tuple(TABLES)
WHITE = (255, 255, 255)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo") / "charts"
    write_demo(CHARTS, directory, train_rows=48, eval_rows=36)
    return directory


def looks(side: str, charts: int) -> set[tuple[object, ...]]:
    """What is seen of a chart when its small print is not: kind, numbers and colours."""
    shown = [chart_of(side, number)[1] for number in range(charts)]
    return {(chart.kind, chart.numbers, chart.colours) for chart in shown}


def test_the_demo_is_two_specs_with_everything_they_name(demo: Path):
    loaded = load_spec(demo / "spec.yaml")
    assert loaded.base_source() == demo / "base" / "qwen2_5_vl-tiny"
    assert loaded.spec.train.parts == Parts(projector="full")
    large = load_spec(demo / "spec-3b.yaml").spec
    assert large.base.model == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert large.data == loaded.spec.data
    pack = load_pack(loaded.root / loaded.spec.data.eval)
    assert len(pack.rows) == 36
    assert {name: part.metric for name, part in pack.slices.items()} == {
        "extremum": "exact@1",
        "lookup": "exact@1",
        "difference": "exact@1",
    }


@pytest.mark.parametrize("name", ["spec.yaml", "spec-3b.yaml"])
def test_every_setting_of_the_specs_is_explained(demo: Path, name: str):
    lines = (demo / name).read_text().splitlines()
    set_here = [line for line in lines if line.strip() and not line.startswith("#")]
    assert [line for line in set_here if not line.endswith(":") and " # " not in line] == []


def test_another_base_is_named_in_the_spec(tmp_path: Path):
    write_demo(CHARTS, tmp_path / "d", base="llava-tiny", train_rows=4, eval_rows=4)
    assert load_spec(tmp_path / "d" / "spec.yaml").base_source() == tmp_path / "d" / "base" / "llava-tiny"


def test_no_table_is_on_two_sides(demo: Path):
    names = [table for side in SIDES for table in TABLES[side]]
    assert len(set(names)) == len(names)
    train, validation = (
        load_dataset(f"{side}/pairs.jsonl", root=demo).examples for side in ("train", "validation")
    )
    pack = load_pack(demo / "eval" / "pack.yaml")
    declared = [{row.group for row in rows} for rows in (train, validation, pack.rows)]
    assert all(found <= set(TABLES[side]) for side, found in zip(SIDES, declared, strict=True))


def test_no_chart_of_one_side_looks_like_one_of_another():
    seen = {side: looks(side, COUNTS[side] // len(PROMPTS)) for side in SIDES}
    assert not seen["train"] & seen["eval"]
    assert not seen["validation"] & (seen["train"] | seen["eval"])


def test_no_eval_picture_is_nearly_a_training_picture():
    train, pack = (
        [likeness_of(draw(chart_of(side, number)[1])) for number in range(count)]
        for side, count in (("train", 120), ("eval", 40))
    )
    assert alike(train, pack) == []
    assert len(alike(train[:3], train[:3])) >= 3, "a picture is like itself"


def test_every_kind_question_and_table_is_asked_on_every_side():
    for side in SIDES:
        charts = [chart_of(side, number) for number in range(COUNTS[side] // len(PROMPTS))]
        assert {table for table, _, _ in charts} == set(TABLES[side])
        assert {chart.kind for _, chart, _ in charts} == {"bar", "line", "pie"}
    assert {row.prompt.split()[1] for row in chart_rows("eval", 4)} == {"colour", "number"}


@pytest.mark.parametrize("side", SIDES)
def test_the_numbers_of_a_chart_are_those_of_its_table(side: str):
    for number in range(30):
        table, chart, _ = chart_of(side, number)
        heading, _, unit = chart.title.rpartition(", ")
        sought = dict(zip(chart.labels, chart.numbers, strict=True))
        found = [
            group.values
            for group in groups(table, MARKS)
            if group.title[:30] == heading and set(group.labels) == set(chart.labels)
            and [sought[label] for label in group.labels] == recounted(group.values, unit)
        ]  # fmt: skip
        assert found, chart


def recounted(values: tuple[float, ...], unit: str) -> list[int]:
    """Count values again in the unit that the title names."""
    size = sum(values) / 10 if unit == "tenths" else float(unit.removeprefix("x "))
    return [round(value / size) for value in values]


@settings(max_examples=60, deadline=None)
@given(
    side=st.sampled_from(SIDES),
    number=st.integers(0, 400),
    question=st.sampled_from(tuple(PROMPTS)),
)
def test_every_answer_follows_from_the_numbers(side: str, number: int, question: str):
    _, chart, colour = chart_of(side, number)
    ranked = sorted(zip(chart.numbers, chart.colours, strict=True))
    prompt, right = ask(question, chart, colour)
    match question:
        case "largest":
            assert right == ranked[-1][1]
        case "smallest":
            assert right == ranked[0][1]
        case "lookup":
            assert colour in prompt
            assert (WORDS.index(right) + 1, colour) in ranked
        case "difference":
            assert ranked[0][0] + WORDS.index(right) + 1 == ranked[-1][0]


@given(st.lists(st.floats(1e-6, 1e9), min_size=2, max_size=6))
def test_rounded_numbers_stay_close_apart_and_on_the_axis(values: list[float]):
    if found := rounded(values, most=TOP):
        whole, unit = found
        assert all(abs(value - n * unit) <= 0.5001 * unit for value, n in zip(values, whole, strict=True))
        assert len(set(whole)) == len(whole)
        assert min(whole) >= 1
        assert TOP / 3 <= max(whole) <= TOP


@given(st.lists(st.floats(1e-6, 1e9), min_size=2, max_size=6))
def test_tenths_are_ten(values: list[float]):
    if parts := tenths(values):
        assert sum(parts) == 10
        assert len(set(parts)) == len(parts)
        total = sum(values)
        assert all(abs(10 * value / total - n) <= 0.5001 for value, n in zip(values, parts, strict=True))


UNDRAWABLE = {
    "two that round alike": [4.9, 5.0, 0.9],
    "one that rounds to nothing": [5.0, 3.0, 0.1],
    "nothing above zero": [0.0, 0.0, -1.0],
    "one below zero": [5.0, 3.0, -2.0],
}


@pytest.mark.parametrize("values", UNDRAWABLE.values(), ids=UNDRAWABLE)
def test_numbers_that_cannot_be_told_apart_are_not_drawn(values: list[float]):
    assert rounded(values, most=TOP) is None
    assert tenths(values) is None


def test_a_mark_is_as_large_as_its_number():
    for kind in ("bar", "pie"):
        chart = Chart(kind, "t", ("a", "b", "c"), (1, 5, 4), ("red", "green", "blue"), top=TOP)
        counts = [inked(draw(chart), colour) for colour in chart.colours]
        shares = [count / counts[0] / number for count, number in zip(counts, chart.numbers, strict=True)]
        assert shares == pytest.approx([1, 1, 1], abs=0.12), kind


def test_the_points_of_a_line_stand_at_their_numbers():
    chart = Chart("line", "t", ("a", "b", "c"), (1, 3, 5), ("red", "green", "blue"), top=TOP)
    picture = draw(chart)
    heights = [middle(picture, colour) for colour in chart.colours]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=2)
    assert heights[0] > heights[1] > heights[2]


def coloured(picture: Image.Image, colour: str) -> list[int]:
    """Rows of all pixels of exactly one colour."""
    pixels = picture.load()
    found = [(x, y) for y in range(SIDE) for x in range(SIDE) if pixels[x, y] == COLOURS[colour]]
    return [y for _, y in found]


def inked(picture: Image.Image, colour: str) -> int:
    return len(coloured(picture, colour))


def middle(picture: Image.Image, colour: str) -> float:
    rows = coloured(picture, colour)
    return (min(rows) + max(rows)) / 2


def test_the_same_demo_is_the_same_files(demo: Path, tmp_path: Path):
    write_demo(CHARTS, tmp_path / "d", train_rows=48, eval_rows=36)
    made, again = digests(demo), digests(tmp_path / "d")
    assert {name: made[name] for name in again} == again
    assert len(again) > 40


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_fewer_rows_are_the_first_of_more(demo: Path, tmp_path: Path):
    write_demo(CHARTS, tmp_path / "d", train_rows=10, eval_rows=5)
    for name, count in (("train/pairs.jsonl", 10), ("eval/pack.jsonl", 5)):
        fewer = (tmp_path / "d" / name).read_text()
        assert (demo / name).read_text().startswith(fewer)
        assert len(fewer.splitlines()) == count
    assert len(list((tmp_path / "d" / "train" / "images").iterdir())) == 3
    assert json.loads(fewer.splitlines()[-1])["image"] == "images/0001.png"


def test_pictures_are_png_on_white_paper(demo: Path):
    for path in sorted((demo / "eval" / "images").iterdir())[:3]:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (SIDE, SIDE))
            assert picture.getpixel((SIDE - 1, SIDE - 1)) == WHITE


BAD_CALLS = {
    "no training rows": {"train_rows": 0},
    "more than there are": {"eval_rows": 601},
    "fewer than none": {"eval_rows": -1},
}


@pytest.mark.parametrize("options", BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_call_writes_nothing(options: dict[str, int], tmp_path: Path):
    with pytest.raises(SpecError, match="8000 training and 600 eval rows"):
        write_demo(CHARTS, tmp_path / "d", **options)
    assert list(tmp_path.iterdir()) == []


def test_missing_vega_datasets_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vega_datasets", None)
    clear_tables()
    try:
        with pytest.raises(SpecError, match="needs vega-datasets") as caught:
            write_demo(CHARTS, tmp_path / "d", train_rows=1, eval_rows=1)
    finally:
        clear_tables()
    assert "kolm[demo]" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def clear_tables() -> None:
    """Forget the tables that were read."""
    from apps.capture import charts, tables

    for cached in (charts._drawable, tables.groups, tables._frame):
        cached.cache_clear()

"""The gallery: which rows are shown, where boxes and points are drawn, and how JSON answers differ."""

import base64
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kolm.artifact import Artifact
from kolm.metrics import METRICS, get_metric
from kolm.pack import pack_from_members, pack_members
from kolm.receipt import Receipt
from kolm.report import facts_of, html_page
from kolm.report.answers import THUMBNAIL, chosen_rows, kind_of
from kolm.report.fields import LONGEST, MOST, fields
from kolm.report.marks import marks
from kolm.scorecard import Output
from tests.bundles import Bundle, Members, make_bundle
from tests.questions import rescored


def said(raw: str, metric_id: str, gold: str = "x") -> Output:
    extracted, score = get_metric(metric_id).judge(raw, [gold])
    return Output(raw=raw, extracted=extracted, score=score, tokens=1, finish="stop")


def opened(bundle: Bundle) -> Any:
    return facts_of(Artifact.open(bundle.artifact_path), Receipt.parse(bundle.receipt))


@pytest.mark.parametrize(
    ("metric_id", "answer", "drawn"),
    [
        ("iou-unit@1", "[0.5, 0.25, 1, 0.75]", 'x="500.0" y="250.0" width="500.0" height="500.0"'),
        ("iou50-thousand@1", "[500, 250, 1000, 750]", 'x="500.0" y="250.0" width="500.0" height="500.0"'),
        ("iou-pixels@1", "[100, 25, 200, 75]", 'x="500.0" y="250.0" width="500.0" height="500.0"'),
        ("click-unit@1", "(0.5, 0.25)", 'd="M500.0 250.0h0"'),
        ("iou-pixels@1", "[100, 25, 5000, 75]", 'x="500.0" y="250.0" width="500.0" height="500.0"'),
        ("iou-pixels@1", "[200, 75, 100, 25]", 'x="500.0" y="250.0" width="500.0" height="500.0"'),
    ],
    ids=["unit", "thousand", "pixels", "a point", "outside the picture", "corners swapped"],
)
def test_an_answer_is_drawn_where_it_points(metric_id: str, answer: str, drawn: str):
    gold = "0,0,1,1"
    svg = marks(metric_id, gold=(gold,), outputs={"tuned": said(answer, metric_id, gold)}, size=(200, 100))
    assert svg is not None
    assert re.search(rf'class="(point )?tuned" {re.escape(drawn)}', svg)


@pytest.mark.parametrize("answer", ["nowhere", "[1, 2]", "[9e9, 1, 2, 3]", "[0.1, 0.2, 0.3, 4]", "<svg>"])
def test_what_points_nowhere_draws_nothing(answer: str):
    svg = marks(
        "iou-unit@1", gold=("0,0,1,1",), outputs={"tuned": said(answer, "iou-unit@1", "0,0,1,1")}, size=(9, 9)
    )
    assert svg is not None
    assert "tuned" not in svg
    assert svg.count("<rect") == 1  # the right answer


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_becomes_markup(gold: str, answer: str):
    """Law: whatever stands in an answer, a drawing holds numbers and our own words."""
    output = Output(raw=answer, extracted=answer, score=0.0, tokens=1, finish="stop")
    svg = marks("click-pixels@1", gold=(gold,), outputs={"tuned": output}, size=(10, 10))
    assert svg is not None
    assert re.fullmatch(r"[A-Za-z0-9<>/=\". -]*", svg)


@pytest.mark.parametrize("metric_id", [name for name in METRICS if not name.startswith(("iou", "click"))])
def test_other_metrics_draw_nothing(metric_id: str):
    assert marks(metric_id, gold=("1,2,3,4",), outputs={}, size=(10, 10)) is None


def test_json_answers_are_compared_field_by_field():
    gold = json.dumps({"total": "12", "menu": [{"name": "tea", "price": 3}], "paid": True})
    base = said("no idea", "field-f1@1", gold)
    tuned = said('{"total": "21", "menu": [{"name": "tea"}], "paid": true, "tip": null}', "field-f1@1", gold)
    found = fields("field-f1@1", gold=gold, outputs={"base": base, "tuned": tuned})
    assert [(f.path, f.gold, f.base, f.tuned) for f in found] == [
        ("total", "12", None, "21"),
        ("menu[0].price", "3", None, None),
        ("tip", None, None, "null"),
        ("menu[0].name", "tea", None, "tea"),
        ("paid", "true", None, "true"),
    ]
    assert [f.changed for f in found] == [True, True, True, False, False]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=60,
)


@given(gold=JSON, answer=JSON)
def test_fields_are_bounded_and_equal_answers_do_not_differ(gold: Any, answer: Any):
    """Laws: never more fields or longer words than promised; an answer does not differ from itself."""
    texts = [json.dumps(value) for value in (gold, answer)]
    outputs = {"tuned": Output(raw="", extracted=texts[1], score=0.0, tokens=1, finish="stop")}
    found = fields("anls-star@1", gold=texts[0], outputs=outputs)
    assert len(found) <= MOST
    assert all(len(word) <= LONGEST + 1 for f in found for word in (f.path, f.gold, f.tuned) if word)
    assert not any(f.changed for f in fields("anls-star@1", gold=texts[1], outputs=outputs))


@pytest.mark.parametrize(
    "text", ["[" * 5_000 + "]" * 5_000, "{", "", "NaN" * 9], ids=["deep", "torn", "none", "words"]
)
def test_what_is_no_json_has_no_fields(text: str):
    output = Output(raw=text, extracted=text, score=0.0, tokens=1, finish="stop")
    assert len(fields("cord-ted@1", gold='{"a": 1}', outputs={"tuned": output})) <= 2


def test_a_page_shows_boxes_over_its_pictures(tmp_path: Path):
    edit = rescored("iou-unit@1", "0.1,0.1,0.5,0.5", "[0, 0, 0.2, 0.2]", "[0.1, 0.1, 0.5, 0.6]")
    text = html_page(opened(make_bundle(tmp_path, rows=6, edit=edit)))
    assert text.count('<svg class="marks"') == 6
    assert text.count('<rect class="gold" x="100.0" y="100.0" width="400.0" height="400.0"/>') == 6
    assert '<span class="key pointed"></span>tuned' in text


def test_a_page_shows_fields_beside_each_other(tmp_path: Path):
    edit = rescored("cord-ted@1", '{"total":"<b>12</b>"}', "nothing", '{"total": "<b>21</b>"}')
    text = html_page(opened(make_bundle(tmp_path, rows=6, edit=edit)))
    assert text.count("field by field") == 6
    assert "&lt;b&gt;21&lt;/b&gt;</td>" in text
    assert "<b>21" not in text


def test_perturbed_and_blind_answers_are_there_folded(tmp_path: Path):
    text = html_page(opened(make_bundle(tmp_path, rows=6)))
    assert text.count("<summary>controls</summary>") == 6
    for model in ("perturbed", "grey", "shuffled"):
        assert text.count(f"<dt>{model}</dt>") == 6


def withhold(members: Members) -> None:
    """Leave the pictures of the eval pack out, as a pack that says so does."""
    pack = pack_from_members(lambda name: bytes(members[name]))  # type: ignore[arg-type]  # no file among them
    yaml = pack.yaml_bytes + b"withhold: images\n"
    for name in [name for name in members if name.startswith("eval/images/")]:
        del members[name]
    members.update(pack_members(replace(pack, yaml_bytes=yaml, withhold="images")))


def test_withheld_pictures_are_named_and_not_shown(tmp_path: Path):
    text = html_page(opened(make_bundle(tmp_path, rows=6, edit=withhold)))
    assert "<img" not in text
    assert text.count('<span class="withheld">withheld</span>') == 6
    assert "6 with 6 pictures, 6 of them withheld" in text


def test_slices_take_turns_in_the_gallery(tmp_path: Path):
    facts = opened(make_bundle(tmp_path, rows=104))
    rows = [
        row.model_copy(update={"slice": "late" if n >= 80 else "early"}) for n, row in enumerate(facts.rows)
    ]
    shown = chosen_rows(rows, facts.pack, metrics={"early": "exact@1", "late": "exact@1"})
    there = Counter(row.slice for row in rows if kind_of(row) == "fixed")
    found = Counter(answer["slice"] for answer in shown if answer["kind"] == "fixed")
    assert min(there.values()) >= 8
    assert found == {"early": 8, "late": 8}


def test_pictures_are_small(tmp_path: Path):
    text = html_page(opened(make_bundle(tmp_path, rows=6)))
    for data in re.findall(r'src="data:image/jpeg;base64,(.*?)"', text):
        assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= THUMBNAIL

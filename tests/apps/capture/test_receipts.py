"""Drawn receipts: the sums are right, the pack judges them, and a seed gives the same pixels."""

import json
from pathlib import Path

import pytest

from apps.capture.receipts import PROMPT, SCHEMA, draw_receipt, write_receipts
from kolm.errors import SpecError
from kolm.images import pixel_digest
from kolm.metrics import get_metric
from kolm.pack import EvalPack, load_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> EvalPack:
    folder = tmp_path_factory.mktemp("drawn") / "receipts"
    write_receipts(folder, rows=13, seed=3)
    return load_pack(folder / "pack.yaml")


def cents(amount: str) -> int:
    whole, hundredths = amount.split(".")
    return int(whole) * 100 + int(hundredths)


@pytest.mark.parametrize("number", range(12))
def test_the_sums_of_a_receipt_are_right_and_its_items_distinct(number: int):
    gold = draw_receipt(seed=1, number=number).gold
    assert sum(cents(item["price"]) for item in gold["menu"]) == cents(gold["subtotal"])
    assert cents(gold["subtotal"]) + cents(gold["tax"]) == cents(gold["total"])
    names = [item["nm"] for item in gold["menu"]]
    assert len(names) == len(set(names)) >= 2
    assert all(cents(item["price"]) % int(item["cnt"]) == 0 for item in gold["menu"])


def test_a_seed_and_a_number_give_the_same_receipt_and_others_another():
    first = draw_receipt(seed=7, number=2)
    again = draw_receipt(seed=7, number=2)
    assert pixel_digest(first.picture) == pixel_digest(again.picture)
    assert first.gold == again.gold
    others = [draw_receipt(seed=7, number=3), draw_receipt(seed=8, number=2)]
    assert pixel_digest(first.picture) not in {pixel_digest(other.picture) for other in others}


def test_a_receipt_is_dark_letters_on_light_paper():
    picture = draw_receipt(seed=0, number=0).picture
    middle = picture.crop(
        (picture.width // 4, picture.height // 4, 3 * picture.width // 4, 3 * picture.height // 4)
    )
    levels = sorted(middle.convert("L").tobytes())
    assert levels[len(levels) // 2] > 180
    assert levels[len(levels) // 100] < 130


def test_every_receipt_is_asked_about_once_and_judged_three_times(pack: EvalPack):
    assert [row.slice for row in pack.rows[:4]] == ["tree", "fields", "valid", "tree"]
    assert len({row.images for row in pack.rows}) == 5
    assert {row.prompt for row in pack.rows} == {PROMPT}
    metrics = {name: part.metric for name, part in pack.slices.items()}
    assert metrics == {"tree": "cord-ted@1", "fields": "field-f1@1", "valid": "json-schema@1"}


def test_the_right_answer_scores_one_in_every_slice_and_a_wrong_one_less(pack: EvalPack):
    golds = {row.images: row.gold[0] for row in pack.rows if row.slice == "tree"}
    for row in pack.rows:
        metric, right = get_metric(pack.slices[row.slice].metric), golds[row.images]
        assert metric.judge(right, row.gold).score == 1
        wrong = json.loads(right)
        wrong["total"] = wrong["menu"][0]["nm"]
        assert metric.judge(json.dumps(wrong), row.gold).score < 1
        assert metric.judge("The total is on the receipt.", row.gold).score == 0


def test_the_schema_takes_the_strict_answer_alone():
    valid, gold = get_metric("json-schema@1"), draw_receipt(seed=0, number=0).gold
    assert valid.judge(json.dumps(gold), [json.dumps(SCHEMA)]).score == 1
    assert valid.judge(f"```json\n{json.dumps(gold)}\n```", [json.dumps(SCHEMA)]).score == 0
    assert valid.judge(json.dumps(gold | {"tip": "1.00"}), [json.dumps(SCHEMA)]).score == 0


def test_the_same_seed_writes_the_same_pack(pack: EvalPack, tmp_path: Path):
    write_receipts(tmp_path / "again", rows=13, seed=3)
    assert load_pack(tmp_path / "again" / "pack.yaml").digest == pack.digest


def test_a_pack_of_nothing_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="0 rows"):
        write_receipts(tmp_path / "none", rows=0, seed=0)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SpecError, match="not an empty folder"):
        write_receipts(tmp_path, rows=3, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

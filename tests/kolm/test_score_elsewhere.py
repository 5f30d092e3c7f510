"""Scores of an artifact's models on a pack that is not the one inside it."""

from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import Artifact
from kolm.canonical import parse_canonical_lines
from kolm.draws import timed_rows
from kolm.pack import EvalPack, pack_from_members
from kolm.scorecard import score_artifact, score_elsewhere
from tests.bundles import Bundle, eval_rows, make_bundle, write_eval_pack

TRAINED_ON = 3
"""A picture of the other packs that the leaking bundle was trained on."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def measured(artifact: Artifact, pack: EvalPack) -> dict[str, Any]:
    timed = timed_rows(pack.digest, [row.id for row in pack.rows])
    timings = [{"id": row_id, "base_ns": 1_000_000, "tuned_ns": 2_000_000} for row_id in timed]
    rows = eval_rows(pack, tuned_right=0.95)
    return score_elsewhere(artifact, rows, pack=pack, timings=timings, attempts=7)


def conditions(document: dict[str, Any]) -> dict[str, Any]:
    return {condition["id"]: condition for condition in document["gate"]["conditions"]}


def test_its_own_pack_gives_its_own_scores(bundle: Bundle) -> None:
    artifact, timings = bundle.facts.artifact, bundle.facts.timings["rows"]
    rows = parse_canonical_lines(artifact.read("eval/rows.jsonl"), what="rows")
    pack = pack_from_members(artifact.read)
    own = score_artifact(artifact, timings=timings, attempts=7, near_duplicates=0)
    other = score_elsewhere(artifact, rows, pack=pack, timings=timings, attempts=7)
    judged = own["gate"]["conditions"], other["gate"]["conditions"]
    assert {**own, "gate": None} == {**other, "gate": None}
    assert [c for c, d in zip(*judged, strict=True) if c != d] == [conditions(own)["no_near_duplicate"]]
    assert own["gate"]["verdict"] == other["gate"]["verdict"] == "PASS"


def test_what_only_the_training_data_could_show_is_not_judged(bundle: Bundle, tmp_path: Path) -> None:
    judged = conditions(measured(bundle.facts.artifact, write_eval_pack(tmp_path, rows=100)))
    blank = {"required": None, "observed": None, "ok": None}
    assert judged["no_near_duplicate"] == {"id": "no_near_duplicate", **blank}
    assert judged["no_leak"]["ok"] is True
    assert judged["no_leak"]["observed"] == 0


def test_a_picture_that_was_trained_on_fails(tmp_path: Path) -> None:
    trained = make_bundle(tmp_path / "leaking", rows=2, train_pictures=(TRAINED_ON, 1001, 1002))
    document = measured(trained.facts.artifact, write_eval_pack(tmp_path / "pack", rows=100))
    assert conditions(document)["no_leak"]["observed"] == 1
    assert document["gate"]["verdict"] == "FAIL"


def test_questions_without_pictures_are_not_called_free_of_leaks(tmp_path: Path) -> None:
    text = make_bundle(tmp_path / "text", rows=2, text=True)
    document = measured(text.facts.artifact, write_eval_pack(tmp_path / "pack", rows=100, text=True))
    judged = conditions(document)
    assert [judged[name]["ok"] for name in ("no_leak", "no_near_duplicate", "image_gain")] == [None] * 3
    assert document["gate"]["verdict"] == "PASS"


def test_few_rows_decide_nothing(bundle: Bundle, tmp_path: Path) -> None:
    document = measured(bundle.facts.artifact, write_eval_pack(tmp_path, rows=20))
    assert document["gate"]["verdict"] == "INCONCLUSIVE"
    assert document["attempts"] == 7

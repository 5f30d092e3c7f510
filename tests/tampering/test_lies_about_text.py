"""A trusted key calls a vision-language model text-only or the other way round, or hides leaked questions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.canonical import canonical_json, canonical_lines, parse_canonical_lines
from kolm.keys import PrivateKey
from kolm.modules import ModuleManifest
from kolm.verify import AuditReport
from tests.bundles import Bundle, Members, make_bundle
from tests.tampering.lies import COMPILE, Statements, audit, edit_json, failed, read, resigned

Edit = Callable[[Members], None]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, key: PrivateKey) -> Bundle:
    """A small honest bundle of a text-only model; read-only."""
    return make_bundle(tmp_path_factory.mktemp("text"), rows=4, key=key, text=True)


def as_vlm(statements: Statements) -> None:
    predicate = statements[COMPILE]["predicate"]
    predicate["vlm_train"] = {**predicate.pop("text_train"), "freeze_vision": True}


def test_an_honest_text_bundle_is_believed(text: Bundle) -> None:
    assert audit(text, base_dir=text.base_dir).ok


def test_a_text_model_that_is_called_a_vision_language_model(text: Bundle) -> None:
    assert failed(audit(text, resigned(text, as_vlm))) == (10, "E_MODULES_MISMATCH")


# A vision-language model without its tower


def without_tower(members: Members) -> None:
    """Take vision and projector out of the module manifest, and out of everything that counts them."""
    manifest = ModuleManifest.parse(read(members, "modules.json"))
    blind = ModuleManifest.of(
        family=manifest.family,
        model_type=manifest.model_type,
        parameters=[p for p in manifest.parameters if p.part not in ("vision", "projector")],
        buffers=[b for b in manifest.buffers if b.part != "vision"],
    )
    members["modules.json"] = blind.to_bytes()

    def relock(lock: dict[str, Any]) -> None:
        lock["cost"]["vision_params"] = 0
        lock["resolved"]["parts"] = blind.treatments()

    edit_json(members, "spec.lock.json", relock)


def without_controls(members: Members) -> None:
    rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
    for row in rows:
        row["outputs"] = {model: row["outputs"][model] for model in ("base", "tuned")}
    members["eval/rows.jsonl"] = canonical_lines(rows)


def without_processor(members: Members) -> None:
    nothing = {"image_processor": None, "backend": None, "size": {}}
    edit_json(members, "spec.lock.json", lambda lock: lock["processor"].update(nothing))


def blinded(here: Path, key: PrivateKey, *edits: Edit) -> Bundle:
    """Return a vision-language bundle that went through these edits and calls itself text-only."""

    def edit(members: Members) -> None:
        for each in (without_tower, *edits):
            each(members)

    return make_bundle(here, rows=4, key=key, edit=edit)


def told_as_text(bundle: Bundle) -> AuditReport:
    """Audit a blinded bundle whose block is a text model's and lists what is left in the manifest."""
    modules = bundle.facts.artifact.modules

    def renamed(statements: Statements) -> None:
        predicate = statements[COMPILE]["predicate"]
        block = predicate.pop("vlm_train")
        del block["freeze_vision"]
        lists = {"frozen_modules": modules.frozen_modules, "trainable_modules": modules.trainable_modules}
        predicate["text_train"] = {**block, **lists, "parts": modules.treatments()}

    return audit(bundle, resigned(bundle, renamed))


def test_a_tower_that_is_not_listed_does_not_excuse_the_blind_controls(here: Path, key: PrivateKey) -> None:
    report = told_as_text(blinded(here, key, without_controls, without_processor))
    assert (report.checks[9].code, report.checks[15].code) == ("E_MODULES_MISMATCH", "E_KSCORE")
    assert "about pictures" in report.checks[9].detail
    assert "lacks an output" in report.checks[15].detail


def test_an_image_processor_gives_the_tower_away(here: Path, key: PrivateKey) -> None:
    report = told_as_text(blinded(here, key, without_controls))
    assert report.checks[9].code == "E_MODULES_MISMATCH"
    assert "image processor" in report.checks[9].detail


@pytest.mark.parametrize("config", [{"vision_config": {}}, {"thinker_config": {"vision_config": {}}}])
def test_the_bases_own_config_gives_the_tower_away(
    here: Path, key: PrivateKey, config: dict[str, Any]
) -> None:
    bundle = make_bundle(here, rows=4, key=key, text=True, base_config=config)
    assert audit(bundle).ok
    assert failed(audit(bundle, base_dir=bundle.base_dir)) == (13, "E_BASE_MISMATCH")


# Rows


def shows_a_token(row: dict[str, Any]) -> None:
    row["image_tokens"] = 4


def counts_patches(row: dict[str, Any]) -> None:
    row["patches"] = 4


def answers_blind(row: dict[str, Any]) -> None:
    row["outputs"]["grey"] = row["outputs"]["base"]


@pytest.mark.parametrize("edit", [shows_a_token, counts_patches, answers_blind])
def test_rows_of_a_text_model_have_nothing_to_do_with_images(
    here: Path, key: PrivateKey, edit: Callable[[dict[str, Any]], None]
) -> None:
    def edited(members: Members) -> None:
        rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
        edit(rows[0])
        members["eval/rows.jsonl"] = canonical_lines(rows)

    bundle = make_bundle(here, rows=4, key=key, text=True, edit=edited)
    assert failed(audit(bundle)) == (16, "E_KSCORE")


def test_a_picture_in_a_text_models_training_set(here: Path, key: PrivateKey) -> None:
    def pictured(members: Members) -> None:
        document = json.loads(read(members, "train/set.json"))
        document["rows"][0]["images"] = [{"bytes": "0" * 64, "pixels": "1" * 64}]
        members["train/set.json"] = canonical_json(document)

    report = audit(make_bundle(here, rows=4, key=key, text=True, edit=pictured))
    assert report.checks[9].code == "E_MODULES_MISMATCH"


# Questions that were trained on: the signer counts them, and the count has its effect


@pytest.mark.parametrize("count", [1, 4, None], ids=["one", "all", "nobody looked"])
def test_questions_that_were_trained_on_fail_the_gate(text: Bundle, count: int | None) -> None:
    def counted(statements: Statements) -> None:
        statements[COMPILE]["predicate"]["data"]["text_overlaps"] = count

    scores = audit(text, resigned(text, counted)).checks[15]
    assert (scores.code, "k_score.gate" in scores.detail) == ("E_KSCORE", True)

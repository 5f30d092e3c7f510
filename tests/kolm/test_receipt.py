from pathlib import Path
from typing import Any

import pytest

from kolm.canonical import canonical_json
from kolm.errors import ArtifactError
from kolm.keys import PrivateKey
from kolm.receipt import Receipt, build_receipt, gate_outcome, stage_plan
from kolm.statements import ORDER, STAGES, parse_statement
from tests.bundles import Bundle, make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), rows=2)


def test_the_same_facts_and_key_give_the_same_receipt(bundle: Bundle) -> None:
    assert build_receipt(bundle.facts, bundle.key) == bundle.receipt


def test_another_key_makes_another_receipt_of_the_same_statements(bundle: Bundle) -> None:
    other = build_receipt(bundle.facts, PrivateKey.generate())
    assert other != bundle.receipt
    assert Receipt.parse(other).unverified() == Receipt.parse(bundle.receipt).unverified()
    assert Receipt.parse(other).artifact == bundle.cid


def test_statements_stand_in_the_order_of_the_format(bundle: Bundle) -> None:
    assert tuple(s.predicate_type for s in Receipt.parse(bundle.receipt).unverified()) == ORDER


def test_the_receipt_says_what_was_frozen_and_trained_in_the_seeds_words(bundle: Bundle) -> None:
    predicate = bundle.statements[len(STAGES)]["predicate"]
    block = predicate["vlm_train"]
    assert {"model_id", "papers", "lora_r", "lora_alpha", "lora_targets", "freeze_vision"} <= block.keys()
    assert block["frozen_modules"][0].startswith("visual.")
    assert predicate["modules"]["frozen_modules"] == block["frozen_modules"]


def test_a_trained_projector_is_trained_and_said_to_be(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, rows=2, projector="full")
    block = bundle.statements[len(STAGES)]["predicate"]["vlm_train"]
    assert "visual.merger" in block["trainable_modules"]
    assert "visual.merger" not in block["frozen_modules"]


def test_every_member_is_made_by_one_stage_and_packed(bundle: Bundle) -> None:
    plan = stage_plan(bundle.facts.artifact)
    made = [name for _, names in plan.values() for name in names]
    images = [name for name in bundle.members if name.startswith("eval/images/")]
    assert sorted(made) == sorted({*bundle.members, "manifest.json"} - set(images))
    packed = [name for name, _ in plan["package"][0]]
    assert sorted(packed) == sorted(set(made) - {"manifest.json"})


def test_stages_consume_what_earlier_stages_made(bundle: Bundle) -> None:
    made: dict[str, str] = {}
    for stage, (consumed, names) in stage_plan(bundle.facts.artifact).items():
        for name, origin in consumed:
            assert (name, origin) == ("base", "external") or made[name] == origin
        made |= dict.fromkeys(names, stage)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run", "short"),
        ("finished", "yesterday"),
        ("memory", {"peak_bytes": -1}),
        ("memory", {"peak_bytes": 1, "swap_bytes": 2}),
        ("environment", {}),
        ("timings", {"rows": []}),
        ("train_block", {"model_id": "base"}),
    ],
)
def test_nothing_is_signed_that_could_not_be_read(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ArtifactError) as caught:
        make_bundle(tmp_path, rows=2, **{field: value})
    assert caught.value.check == "E_SCHEMA"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**53])
def test_numbers_that_json_cannot_hold_are_not_signed(tmp_path: Path, number: float) -> None:
    with pytest.raises(ArtifactError) as caught:
        make_bundle(tmp_path, rows=2, environment={"load": number})
    assert caught.value.check == "E_JSON_CANONICAL"


CONDITIONS = [
    {"id": "k_lower", "required": 0.8, "observed": 0.9, "ok": True},
    {"id": "enough_rows", "required": 100, "observed": 9, "ok": False},
    {"id": "image_gain", "required": None, "observed": None, "ok": None},
]


@pytest.mark.parametrize(
    ("verdict", "result", "warned", "unmet"),
    [
        ("PASS", "PASSED", [], ["enough_rows"]),
        ("FAIL", "FAILED", [], ["enough_rows"]),
        ("INCONCLUSIVE", "WARNED", ["enough_rows"], []),
    ],
)
def test_a_gate_in_in_totos_words(verdict: str, result: str, warned: list[str], unmet: list[str]) -> None:
    assert gate_outcome({"verdict": verdict, "conditions": CONDITIONS}) == {
        "result": result,
        "passedTests": ["k_lower"],
        "warnedTests": warned,
        "failedTests": unmet,
    }


def test_a_statement_is_read_from_its_canonical_bytes(bundle: Bundle) -> None:
    for statement in bundle.statements:
        parsed = parse_statement(canonical_json(statement))
        assert parsed.predicate.model_dump(by_alias=True, exclude_unset=True) == statement["predicate"]


@pytest.mark.parametrize(
    "cid", ["", "bafkrei", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "a" * 100_000]
)
def test_a_receipt_about_no_cid(bundle: Bundle, cid: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        Receipt.parse(canonical_json({"kind": "kolm-receipt/1", "artifact": cid, "envelopes": []}))
    assert caught.value.check in {"E_CID_SYNTAX", "E_CID_PROFILE"}


@pytest.mark.parametrize("envelope", [1, {}, {"payload": 1}, {"payload": "!"}])
def test_an_envelope_without_a_payload_cannot_be_looked_at(bundle: Bundle, envelope: Any) -> None:
    document = {"kind": "kolm-receipt/1", "artifact": bundle.cid, "envelopes": [envelope]}
    with pytest.raises(ArtifactError) as caught:
        Receipt.parse(canonical_json(document)).unverified()
    assert caught.value.check == "E_ENVELOPE"


def test_a_receipt_of_a_great_many_envelopes_is_refused_before_it_is_read(bundle: Bundle) -> None:
    data = canonical_json({"kind": "kolm-receipt/1", "artifact": bundle.cid, "envelopes": [0] * 10_000})
    with pytest.raises(ArtifactError) as caught:
        Receipt.parse(data)
    assert caught.value.check == "E_LIMIT"


def test_an_empty_receipt_is_called_empty() -> None:
    with pytest.raises(ArtifactError, match="receipt is empty"):
        Receipt.parse(b"")


@pytest.mark.parametrize("payload", ["YQ", "YR==", " YQ==", "YQ==\n", "Y-==", 1, None])
def test_a_payload_of_another_spelling_is_not_looked_at(bundle: Bundle, payload: object) -> None:
    envelopes = [{"payload": payload, "payloadType": "x", "signatures": []}]
    data = canonical_json({"kind": "kolm-receipt/1", "artifact": bundle.cid, "envelopes": envelopes})
    with pytest.raises(ArtifactError) as caught:
        Receipt.parse(data).unverified()
    assert caught.value.check == "E_ENVELOPE"

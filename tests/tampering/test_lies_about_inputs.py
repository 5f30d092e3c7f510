"""A trusted key signs a lie about what went in: data, log, spec, lock, base and pack."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import write_artifact
from kolm.canonical import canonical_json, canonical_lines, parse_canonical, parse_canonical_lines
from kolm.commitments import group_commitment
from kolm.errors import ArtifactError
from kolm.keys import PrivateKey
from kolm.trainlog import Chain
from kolm.verify import verify_bundle
from tests.bundles import Bundle, Members, make_bundle
from tests.tampering.lies import audit, edit_json, failed, read

ADAPTER = "adapter/adapter_model.safetensors"


def lie(here: Path, key: PrivateKey, **options: Any) -> Bundle:
    return make_bundle(here, rows=4, key=key, **options)


# Data and log


@pytest.mark.parametrize("shown", [0, 3])
def test_attack_49_an_eval_picture_that_was_trained_on(here: Path, key: PrivateKey, shown: int) -> None:
    bundle = lie(here, key, train_pictures=(1000, shown, 1001))
    assert failed(audit(bundle)) == (15, "E_HOLDOUT_LEAK")


def test_attack_49_an_eval_row_of_a_group_that_was_trained_on(here: Path, key: PrivateKey) -> None:
    def of_a_trained_group(members: Members) -> None:
        train_set = parse_canonical(read(members, "train/set.json"), what="set")
        train_set["rows"][0]["group"] = group_commitment(bytes.fromhex(train_set["salt"]), group="table 7")
        members["train/set.json"] = canonical_json(train_set)
        rows = parse_canonical_lines(read(members, "eval/pack.jsonl"), what="pack")
        members["eval/pack.jsonl"] = canonical_lines([rows[0] | {"group": "table 7"}, *rows[1:]])

    holdout = audit(lie(here, key, edit=of_a_trained_group)).checks[14]
    assert holdout.code == "E_HOLDOUT_LEAK"
    assert holdout.detail == "1 eval rows are of a group that was trained on, first row-000"


def log_lines(members: Members) -> list[dict[str, Any]]:
    return parse_canonical_lines(read(members, "train/log.jsonl"), what="log")


def lower_loss(members: Members) -> None:
    lines = log_lines(members)
    lines[1]["loss"] = 0.001
    members["train/log.jsonl"] = canonical_lines(lines)


def dropped_step(members: Members) -> None:
    lines = log_lines(members)
    members["train/log.jsonl"] = canonical_lines([*lines[:1], *lines[2:]])


def rechained(change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> Callable[[Members], None]:
    """Change a log and compute its hashes again, as a liar who knows the format would."""

    def edit(members: Members) -> None:
        first, *rest = log_lines(members)
        records = [{key: value for key, value in line.items() if key != "hash"} for line in rest]
        change(first["commitment"], records)
        chain = Chain(first["commitment"])
        for record in records:
            chain.append(record)
        members["train/log.jsonl"] = chain.to_bytes()

    return edit


def other_seed(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    commitment["seed"] = 1


def other_pack(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    commitment["pack"] = "0" * 64


def other_set(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    commitment["set"] = "0" * 64


def unknown_row(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    records[0]["rows"] = ["row-000"]


def first_step_missing(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    del records[0]


def no_steps(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    records.clear()


@pytest.mark.parametrize(
    "edit",
    [
        lower_loss,
        dropped_step,
        *map(rechained, (other_seed, other_pack, other_set, unknown_row, first_step_missing, no_steps)),
    ],
)
def test_attack_74_a_training_log_that_was_rewritten(
    here: Path, key: PrivateKey, edit: Callable[[Members], None]
) -> None:
    assert failed(audit(lie(here, key, edit=edit))) == (14, "E_TRAINLOG")


def test_a_seed_that_does_not_follow_from_the_data(here: Path, key: PrivateKey) -> None:
    def lucky(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock["seed"].update(effective=7))

    log = audit(lie(here, key, edit=lucky)).checks[13]
    assert log.code == "E_TRAINLOG"
    assert "effective seed" in log.detail


# Spec and lock


def edit_spec(old: str, new: str) -> Callable[[Members], None]:
    def edit(members: Members) -> None:
        text = read(members, "spec.yaml").decode()
        assert old in text
        members["spec.yaml"] = text.replace(old, new).encode()

    return edit


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("k: 0.5", "k: 0.9"),
        ("min_accuracy: 0.5", "min_accuracy: 0.9"),
        ("lora_r: 2", "lora_r: 8"),
        ("seed: 0", "seed: 5"),
        ("name: digits", "name: letters"),
        ("model: base", "model: bases/other"),
        ("max_seq_length: 64", "max_seq_length: 128"),
        ("eval: {", "generation: {batch: 8}\neval: {"),
        ("model: base", "model: base, revision: abc"),
    ],
)
def test_attack_45_a_spec_that_asks_for_something_else(
    here: Path, key: PrivateKey, old: str, new: str
) -> None:
    assert failed(audit(lie(here, key, edit=edit_spec(old, new)))) == (9, "E_SPEC_MISMATCH")


def other_licence(lock: dict[str, Any]) -> None:
    lock["base"]["licence"] = "mit"


def other_seed_asked_for(lock: dict[str, Any]) -> None:
    lock["seed"]["spec"] = 5


def longer_answers(lock: dict[str, Any]) -> None:
    lock["generation"]["max_new_tokens"] = 4096


def a_metric_for_no_slice(lock: dict[str, Any]) -> None:
    lock["metrics"]["write"] = "exact@1"


@pytest.mark.parametrize("edit", [other_licence, other_seed_asked_for, longer_answers, a_metric_for_no_slice])
def test_a_lock_that_resolves_another_spec(
    here: Path, key: PrivateKey, edit: Callable[[dict[str, Any]], None]
) -> None:
    bundle = lie(here, key, edit=lambda members: edit_json(members, "spec.lock.json", edit))
    assert failed(audit(bundle)) == (9, "E_SPEC_MISMATCH")


@pytest.mark.parametrize(
    "text",
    [b"kolm: [", b"kolm: 1\nkolm: 1\n", b"!!python/object/apply:os.system [id]", b"a: &a [*a]\n", b"\xff"],
)
def test_attack_72_a_spec_that_cannot_be_parsed(here: Path, key: PrivateKey, text: bytes) -> None:
    bundle = lie(here, key, edit=lambda members: members.update({"spec.yaml": text}))
    assert failed(audit(bundle)) == (9, "E_SPEC_PARSE")


@pytest.mark.parametrize(
    ("member", "value"),
    [("lora_r", 64), ("learning_rate", 0.5), ("max_seq_length", 4096), ("lora_targets", ["q_proj"])],
)
def test_a_training_block_that_is_not_the_locks(here: Path, key: PrivateKey, member: str, value: Any) -> None:
    bundle = lie(here, key, claim=lambda facts: facts["train_block"].update({member: value}))
    assert failed(audit(bundle)) == (9, "E_SPEC_MISMATCH")


def test_larger_batches_than_the_locks(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, claim=lambda facts: facts["evaluation"].update(batch=64))
    assert failed(audit(bundle)) == (9, "E_SPEC_MISMATCH")


def test_more_training_examples_than_rows(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, claim=lambda facts: facts["train_block"].update(train_examples=10_000))
    assert failed(audit(bundle)) == (9, "E_SPEC_MISMATCH")


def test_another_model_id(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, claim=lambda facts: facts["train_block"].update(model_id="big/model"))
    assert failed(audit(bundle)) == (8, "E_CHAIN_CONFLICT")


# Base


def test_attack_73_a_base_file_that_is_not_the_one_compiled_from(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key)
    (bundle.base_dir / "config.json").write_text("{}", encoding="utf-8")
    assert failed(audit(bundle, base_dir=bundle.base_dir)) == (13, "E_BASE_MISMATCH")
    assert audit(bundle).ok


def test_a_base_file_that_is_not_there(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key)
    (bundle.base_dir / "model.safetensors").unlink()
    assert failed(audit(bundle, base_dir=bundle.base_dir)) == (13, "E_BASE_MISMATCH")


def another_origin(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["base"]["key"] = manifest["parameters"][1]["base"]["key"]


def another_digest(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0] |= {"before": "1" * 64, "after": "1" * 64}


@pytest.mark.parametrize("edit", [another_origin, another_digest])
def test_attack_73_a_parameter_that_is_not_the_bases(
    here: Path, key: PrivateKey, edit: Callable[[Any], None]
) -> None:
    bundle = lie(here, key, edit=lambda members: edit_json(members, "modules.json", edit))
    assert failed(audit(bundle, base_dir=bundle.base_dir)) == (13, "E_BASE_MISMATCH")
    unseen = audit(bundle).checks[12]
    assert (unseen.status, unseen.evidence) == ("skipped", "signed only")


def test_attack_73_a_base_of_another_type(here: Path, key: PrivateKey) -> None:
    def retyped(members: Members) -> None:
        edit_json(members, "modules.json", lambda manifest: manifest.update(model_type="llava"))

    bundle = lie(here, key, edit=retyped)
    assert failed(audit(bundle, base_dir=bundle.base_dir)) == (13, "E_BASE_MISMATCH")


@pytest.mark.parametrize("config", ["[]", "{", "[" * 100_000])
def test_a_base_whose_config_is_no_object(here: Path, key: PrivateKey, config: str) -> None:
    bundle = lie(here, key, base_config=config)
    check = audit(bundle, base_dir=bundle.base_dir).checks[12]
    assert (check.code, check.detail) == ("E_BASE_MISMATCH", "its config.json is not a JSON object")


def test_what_is_said_to_be_in_no_file_of_the_base_is_counted(here: Path, key: PrivateKey) -> None:
    """A frozen parameter of the base that calls itself absent from it is not compared, and that shows."""

    def hidden(members: Members) -> None:
        absent = {"file": None, "key": None, "relation": "absent"}
        edit_json(members, "modules.json", lambda manifest: manifest["parameters"][-4].update(base=absent))

    honest, bundle = lie(here / "honest", key), lie(here, key, edit=hidden)
    assert "not compared" not in audit(honest, base_dir=honest.base_dir).checks[12].detail
    told = audit(bundle, base_dir=bundle.base_dir).checks[12].detail
    assert told == "3 files, 5 identical parameters and 1 others not compared, 1 tensors of the base unused"


def test_a_training_row_that_is_listed_twice(here: Path, key: PrivateKey, bundle: Bundle) -> None:
    def again(members: Members) -> None:
        edit_json(members, "train/set.json", lambda value: value["rows"].append(value["rows"][0]))

    with pytest.raises(ArtifactError, match="twice"):  # nobody signs that by accident
        lie(here, key, edit=again)
    assert verify_bundle(here / "digits.kolm", None, bundle.trust).checks[14].code == "E_SCHEMA"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd"])
def test_a_base_file_outside_the_base(here: Path, key: PrivateKey, path: str) -> None:
    def outside(manifest: dict[str, Any]) -> None:
        manifest["parameters"][0]["base"]["file"] = path

    bundle = lie(here, key, edit=lambda members: edit_json(members, "modules.json", outside))
    assert failed(audit(bundle, base_dir=bundle.base_dir)) == (13, "E_BASE_MISMATCH")


@pytest.mark.parametrize("path", ["../config.json", "/etc/passwd"])
def test_a_base_that_lies_outside_its_folder(bundle: Bundle, tmp_path: Path, path: str) -> None:
    base = bundle.facts.artifact.manifest.base.model_dump()
    base["files"][0]["path"] = path
    file = tmp_path / "x.kolm"
    write_artifact(file, bundle.members, name="digits", task="t", family="f", base=base)
    check = verify_bundle(file, None, bundle.trust, base_dir=bundle.base_dir).checks[12]
    assert (check.code, check.detail) == ("E_BASE_MISMATCH", f"{path} leaves the base's directory")


def test_a_base_that_is_said_to_be_larger_than_it_is(bundle: Bundle, tmp_path: Path) -> None:
    """S compares the adapter with the base's size, and a digest says nothing of it."""
    base = bundle.facts.artifact.manifest.base.model_dump()
    base["files"][0]["bytes"] *= 1000
    file = tmp_path / "x.kolm"
    write_artifact(file, bundle.members, name="digits", task="t", family="f", base=base)
    check = verify_bundle(file, None, bundle.trust, base_dir=bundle.base_dir).checks[12]
    assert (check.code, "has not" in check.detail) == ("E_BASE_MISMATCH", True)


# Pack


def test_a_picture_under_anothers_name(here: Path, key: PrivateKey, bundle: Bundle) -> None:
    def swap(members: Members) -> None:
        first, second, *_ = (name for name in members if name.startswith("eval/images/"))
        members[first] = members[second]

    with pytest.raises(ArtifactError, match="picture it is named for"):  # nobody signs that by accident
        lie(here, key, edit=swap)
    report = verify_bundle(here / "digits.kolm", None, bundle.trust)
    assert report.checks[14].code == "E_MEMBER_DIGEST"


def test_a_picture_that_no_row_shows(here: Path, key: PrivateKey) -> None:
    def hide(members: Members) -> None:
        image = next(name for name in members if name.startswith("eval/images/"))
        members[f"eval/images/{'0' * 64}.png"] = members[image]

    assert failed(audit(lie(here, key, edit=hide))) == (7, "E_CHAIN_LINK")


def test_a_gold_answer_that_was_changed(here: Path, key: PrivateKey) -> None:
    def easier(members: Members) -> None:
        rows = parse_canonical_lines(read(members, "eval/pack.jsonl"), what="pack")
        rows[1]["gold"] = ["no digit"]
        members["eval/pack.jsonl"] = canonical_lines(rows)

    codes = {check.code for check in audit(lie(here, key, edit=easier)).checks}
    assert {"E_TRAINLOG", "E_KSCORE"} <= codes


def test_canonical_json_is_asked_of_every_document(here: Path, key: PrivateKey) -> None:
    def pretty(members: Members) -> None:
        document = json.loads(read(members, "modules.json"))
        members["modules.json"] = json.dumps(document, indent=1).encode()
        assert canonical_json(document) != members["modules.json"]

    with pytest.raises(ArtifactError, match="canonical"):  # the publisher's own kolm refuses to sign it
        lie(here, key, edit=pretty)

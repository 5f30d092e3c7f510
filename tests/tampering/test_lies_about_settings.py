"""A trusted key signs settings, counts and times that its own artifact shows to be others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import write_artifact
from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.cid import sha256_hex
from kolm.keys import PrivateKey
from kolm.predicates import TextTrainBlock
from kolm.schedule import passes
from kolm.trainlog import effective_seed
from kolm.verify import verify_bundle
from tests.bundles import Bundle, Members, make_bundle
from tests.tampering.lies import COMPILE, PROVENANCE, Statements, audit, edit_json, failed, read, resigned
from tests.tampering.test_lies_about_inputs import rechained


def lie(here: Path, key: PrivateKey, **options: Any) -> Bundle:
    return make_bundle(here, rows=4, key=key, **options)


def block_of(statements: Statements) -> dict[str, Any]:
    block: dict[str, Any] = statements[COMPILE]["predicate"]["vlm_train"]
    return block


def told(bundle: Bundle, **claims: Any) -> tuple[int, str | None]:
    """Sign a training block with other members and return what the audit says."""
    return failed(audit(bundle, resigned(bundle, lambda statements: block_of(statements).update(claims))))


# What kind of model it is


def as_text(statements: Statements) -> None:
    block = statements[COMPILE]["predicate"].pop("vlm_train")
    kept = {member: block[member] for member in TextTrainBlock.model_fields if member in block}
    statements[COMPILE]["predicate"]["text_train"] = kept


def test_a_vision_language_model_that_is_called_a_text_model(bundle: Bundle) -> None:
    assert failed(audit(bundle, resigned(bundle, as_text))) == (10, "E_MODULES_MISMATCH")


def test_a_text_models_name_does_not_excuse_the_blind_controls(here: Path, key: PrivateKey) -> None:
    def unblinded(members: Members) -> None:
        rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
        for row in rows:
            del row["outputs"]["grey"], row["outputs"]["shuffled"]
        members["eval/rows.jsonl"] = canonical_lines(rows)

    bundle = lie(here, key, edit=unblinded)
    report = audit(bundle, resigned(bundle, as_text))
    assert (report.checks[9].code, report.checks[15].code) == ("E_MODULES_MISMATCH", "E_KSCORE")


@pytest.mark.parametrize(
    "claims",
    [
        {"parts": {"vision": "frozen", "projector": "frozen", "language": "full", "head": "frozen"}},
        {"parts": {"vision": "frozen", "projector": "frozen", "language": "lora"}},
        {"parts": {}},
        {"servable_as": "merged"},
        {"servable_as": ""},
    ],
)
def test_parts_that_were_treated_otherwise(bundle: Bundle, claims: dict[str, Any]) -> None:
    assert told(bundle, **claims) == (10, "E_MODULES_MISMATCH")


def test_a_trained_projector_cannot_be_served_as_an_adapter(here: Path, key: PrivateKey) -> None:
    assert told(lie(here, key, projector="full"), servable_as="lora") == (10, "E_MODULES_MISMATCH")


def test_modules_of_another_family(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, edit=lambda m: edit_json(m, "modules.json", lambda x: x.update(family="llava")))
    assert failed(audit(bundle)) == (10, "E_MODULES_MISMATCH")


# What the receipt repeats


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("method", "dora"),
        ("method", ""),
        ("bias", "all"),
        ("lora_dropout", 0.5),
        ("lora_alpha", 64),
        ("optim", "adamw_8bit"),
        ("lr_scheduler", "cosine"),
        ("num_train_epochs", 100),
        ("seed", 1),
        ("train_examples", 2),
        ("train_examples", 0),
        ("truncated_examples", 4),
    ],
)
def test_a_setting_or_count_that_is_not_the_locks(bundle: Bundle, member: str, value: Any) -> None:
    assert told(bundle, **{member: value}) == (9, "E_SPEC_MISMATCH")


def test_rows_are_not_dropped_where_that_is_refused(bundle: Bundle) -> None:
    assert told(bundle, train_examples=2, dropped_examples=1) == (9, "E_SPEC_MISMATCH")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("versions", {"kolm": "0.1.0", "torch": "9.9", "peft": "0.21.2"}),
        ("versions", {}),
        ("versions", None),
        ("device", "NVIDIA H200"),
        ("image_backend", "torchvision"),
    ],
)
def test_an_environment_that_is_not_the_locks(bundle: Bundle, member: str, value: Any) -> None:
    def edit(statements: Statements) -> None:
        statements[COMPILE]["predicate"]["environment"][member] = value

    assert failed(audit(bundle, resigned(bundle, edit))) == (9, "E_SPEC_MISMATCH")


def uneaten(statements: Statements) -> None:
    block_of(statements)["steps"] = 3


def untimed(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["timings"]["steps_ns"].pop()


def an_earlier_step(statements: Statements) -> None:
    block_of(statements)["best_step"] = 1


def the_last_step(statements: Statements) -> None:
    block_of(statements)["checkpoint"] = "last"


def no_best_step(statements: Statements) -> None:
    block_of(statements)["best_step"] = None


@pytest.mark.parametrize("edit", [uneaten, untimed, an_earlier_step, the_last_step, no_best_step])
def test_steps_that_the_log_does_not_have(bundle: Bundle, edit: Callable[[Statements], None]) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (14, "E_TRAINLOG")


def the_first_is_best(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    records[1]["validation_loss"] = 0.5


def a_tie(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    records[1]["validation_loss"] = records[3]["validation_loss"]


def no_validation(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    del records[3], records[1]


def a_validation_out_of_place(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    records[3]["step"] = 1


@pytest.mark.parametrize("change", [the_first_is_best, a_tie, no_validation, a_validation_out_of_place])
def test_a_log_that_keeps_other_weights(here: Path, key: PrivateKey, change: Any) -> None:
    assert failed(audit(lie(here, key, edit=rechained(change)))) == (14, "E_TRAINLOG")


# The schedule


def steps_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if "rows" in record]


def a_row_fed_twice(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    steps_of(records)[1]["rows"] = ["train-0", "train-0", "train-2"]


def another_order(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    steps_of(records)[1]["rows"].reverse()


def a_row_less(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    steps_of(records)[0]["rows"].pop()


def another_rate(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    steps_of(records)[1]["lr"] = 0.001


def a_third_pass(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    records += [{**records[2], "step": 3}, {"step": 3, "validation_loss": 9}]


def a_validation_left_out(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    del records[1]


def no_validation_at_all(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    del records[3], records[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (a_row_fed_twice, "a row is fed twice in the pass that step 2 begins"),
        (another_order, "the pass that step 2 begins is in another order than the seed gives"),
        (a_row_less, "step 1 has other rows"),
        (another_rate, "step 2 has another rate than the settings give"),
        (a_third_pass, "it has other steps than settings and rows give"),
        (a_validation_left_out, "it validates at other steps than the settings say"),
        (no_validation_at_all, "it validates at other steps than the settings say"),
    ],
)
def test_a_log_of_another_schedule(here: Path, key: PrivateKey, change: Any, says: str) -> None:
    """The receipt tells of the same steps: nothing but the spec and the set contradict it."""

    def told(facts: dict[str, Any]) -> None:
        if change is a_third_pass:
            facts["timings"]["steps_ns"].append(1)
            facts["train_block"]["steps"] = 3
        if change is no_validation_at_all:
            facts["train_block"] |= {"checkpoint": "last", "best_step": 2}

    def edit(members: Members) -> None:
        if change is no_validation_at_all:
            edit_json(members, "spec.lock.json", lambda lock: lock["resolved"].update(keep="last"))
        digest = sha256_hex(read(members, "spec.lock.json"))
        rechained(lambda commitment, _: commitment.update(lock=digest))(members)
        rechained(change)(members)

    check = audit(lie(here, key, edit=edit, claim=told)).checks[13]
    assert (check.code, check.detail) == ("E_TRAINLOG", f"train/log.jsonl: {says}")


def rows_of_strangers(members: Members) -> None:
    rechained(lambda _, records: steps_of(records)[0].update(rows=["a", "b"]))(members)


def no_step(members: Members) -> None:
    rechained(lambda _, records: records.clear())(members)


def no_validation_rows(members: Members) -> None:
    """The set has none; seed and commitments follow."""
    edit_json(members, "train/set.json", lambda document: document.update(validation=[]))
    root = sha256_hex(read(members, "train/set.json"))
    seed = effective_seed(0, root=root)
    edit_json(members, "spec.lock.json", lambda lock: lock["seed"].update(effective=seed))
    lock = sha256_hex(read(members, "spec.lock.json"))
    rechained(lambda commitment, _: commitment.update(set=root, seed=seed, lock=lock))(members)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (rows_of_strangers, "it trains on rows that the training set does not hold"),
        (no_step, "it holds no step"),
        (no_validation_rows, "it validates on rows that are not there"),
    ],
)
def test_what_a_log_says_of_itself_is_checked_without_a_receipt(
    here: Path, key: PrivateKey, edit: Callable[[Members], None], says: str
) -> None:
    bundle = lie(here, key, edit=edit)
    check = verify_bundle(bundle.artifact_path, None, bundle.trust).checks[13]
    assert (check.code, check.detail) == ("E_TRAINLOG", f"train/log.jsonl: {says}")


@pytest.mark.parametrize("honest", [True, False])
def test_rows_that_were_left_out_show_in_a_whole_pass(here: Path, key: PrivateKey, honest: bool) -> None:
    """Two of three rows are fed, in the order that the seed gives two rows."""

    def two_of_three(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
        orders = passes(2, seed=commitment["seed"])
        for record in steps_of(records):
            fed = [("train-0", "train-2")[place] for place in next(orders)]
            record["rows"] = fed if honest else fed[::-1]

    def edit(members: Members) -> None:
        text = read(members, "spec.yaml").decode()
        members["spec.yaml"] = text.replace("lora_r: 2", "lora_r: 2\n  on_overlong: drop").encode()
        edit_json(members, "spec.lock.json", lambda lock: lock["config"].update(on_overlong="drop"))
        made = {name: sha256_hex(read(members, f"spec.{end}")) for name, end in ENDS.items()}
        rechained(lambda commitment, _: commitment.update(made))(members)
        rechained(two_of_three)(members)

    def told(facts: dict[str, Any]) -> None:
        facts["train_block"] |= {"train_examples": 2, "dropped_examples": 1}

    assert audit(lie(here, key, edit=edit, claim=told)).ok is honest


ENDS = {"spec": "yaml", "lock": "lock.json"}


@pytest.mark.parametrize("data", ["", ", split: {validation: 0.2}"])
def test_validation_rows_that_the_spec_has_or_has_not(here: Path, key: PrivateKey, data: str) -> None:
    """What the spec says is compared with what the set holds, both ways."""

    def edit(members: Members) -> None:
        text = read(members, "spec.yaml").decode()
        members["spec.yaml"] = text.replace(", validation: validation/pairs.jsonl", data).encode()

    spec = audit(lie(here, key, edit=edit)).checks[8]
    said = "spec, lock and receipt disagree about data.validation"
    assert (spec.detail == said) is not bool(data)


@pytest.mark.parametrize("member", ["loss", "grad_norm", "lr"])
def test_a_size_below_zero(here: Path, key: PrivateKey, member: str) -> None:
    def negative(commitment: dict[str, Any], records: list[dict[str, Any]]) -> None:
        records[0][member] *= -1

    assert audit(lie(here, key, edit=rechained(negative))).checks[13].code == "E_SCHEMA"


@pytest.mark.parametrize(("batch", "compared", "believed"), [(1, 0, True), (1, 8, False), (8, 0, False),
                                                             (8, 8, True), (8, 9, False)])  # fmt: skip
def test_how_many_answers_were_compared(
    here: Path, key: PrivateKey, batch: int, compared: int, believed: bool
) -> None:
    """Four rows are timed, so eight answers at most were given alone as well."""
    told = {"batch": batch, "compared": compared, "differing": 0}

    def edit(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock["generation"].update(batch=batch))

    spec = audit(lie(here, key, edit=edit, evaluation=told)).checks[8]
    assert (spec.status == "passed") is believed
    assert believed or spec.detail.endswith("the receipt's evaluation.compared")


def test_answers_in_batches_that_the_lock_does_not_know(here: Path, key: PrivateKey) -> None:
    spec = audit(lie(here, key, evaluation={"batch": 8, "compared": 8, "differing": 0})).checks[8]
    assert spec.detail.endswith("the receipt's evaluation.batch")


# Members and times


def test_a_tokenizer_that_is_not_the_bases(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, edit=lambda m: m.update({"processor/preprocessor_config.json": b"{}"}))
    assert failed(audit(bundle)) == (2, "E_MEMBER_DIGEST")


def test_a_processor_file_that_the_base_does_not_have(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, edit=lambda m: m.update({"processor/chat_template.jinja": b"lie"}))
    assert failed(audit(bundle)) == (2, "E_MEMBER_DIGEST")


def test_a_processor_file_of_the_base_that_is_left_out(here: Path, key: PrivateKey) -> None:
    """Whoever loads the artifact would take another picture size than the one that was scored."""
    bundle = lie(here, key, edit=lambda m: m.pop("processor/preprocessor_config.json"))
    report = audit(bundle)
    assert failed(report) == (2, "E_MEMBER_MISSING")
    assert report.checks[1].detail == "processor/preprocessor_config.json: missing, though the base has it"


def test_a_base_file_that_is_listed_twice(here: Path, key: PrivateKey) -> None:
    honest = lie(here, key)
    base = honest.facts.artifact.manifest.base.model_dump()
    base["files"].append(base["files"][0])
    path = here / "twice.kolm"
    write_artifact(path, honest.members, name="digits", task="t", family="f", base=base)
    check = verify_bundle(path, None, honest.trust).checks[1]
    assert (check.code, check.detail) == (
        "E_SCHEMA",
        "manifest.json does not list the base's files once each, sorted",
    )


@pytest.mark.parametrize("time", ["2026-99-99T12:00:00Z", "2026-02-30T12:00:00Z", "0000-01-01T00:00:00Z"])
def test_a_time_that_no_clock_shows(bundle: Bundle, time: str) -> None:
    def edit(statements: Statements) -> None:
        statements[COMPILE]["predicate"]["finished"] = time
        statements[PROVENANCE]["predicate"]["runDetails"]["metadata"]["finishedOn"] = time

    assert failed(audit(bundle, resigned(bundle, edit))) == (6, "E_SCHEMA")

"""A trusted key signs statements that do not belong together, or are not what a receipt holds."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kolm.canonical import canonical_json
from tests.bundles import Bundle
from tests.tampering.lies import (
    COMPILE,
    PROVENANCE,
    STAGE,
    TEST_RESULT,
    Statements,
    audit,
    build,
    enveloped,
    failed,
    payloads,
    resigned,
)


def envelopes_of(receipt: bytes) -> list[Any]:
    envelopes: list[Any] = json.loads(receipt)["envelopes"]
    return envelopes


def with_envelopes(bundle: Bundle, edit: Callable[[list[Any]], None]) -> bytes:
    """Change the order of good envelopes, none of which is signed again."""
    document = json.loads(bundle.receipt)
    edit(document["envelopes"])
    return canonical_json(document)


def reordered(envelopes: list[Any]) -> None:
    envelopes[1], envelopes[2] = envelopes[2], envelopes[1]


def duplicated(envelopes: list[Any]) -> None:
    envelopes.insert(2, envelopes[2])


def replaced_by_a_copy(envelopes: list[Any]) -> None:
    envelopes[1] = envelopes[2]


def without_a_stage(envelopes: list[Any]) -> None:
    del envelopes[2]


def without_the_compile_statement(envelopes: list[Any]) -> None:
    del envelopes[COMPILE]


def without_provenance(envelopes: list[Any]) -> None:
    del envelopes[PROVENANCE]


def without_the_test_result(envelopes: list[Any]) -> None:
    del envelopes[TEST_RESULT]


@pytest.mark.parametrize(
    "edit",
    [
        reordered,
        duplicated,
        replaced_by_a_copy,
        without_a_stage,
        without_the_compile_statement,
        without_provenance,
        without_the_test_result,
    ],
)
def test_attack_40_a_statement_removed_moved_or_repeated(
    bundle: Bundle, edit: Callable[[list[Any]], None]
) -> None:
    assert failed(audit(bundle, with_envelopes(bundle, edit))) == (7, "E_CHAIN_STAGES")


@pytest.mark.parametrize("stage", STAGE.values(), ids=STAGE)
def test_attack_41_a_stage_of_another_run(bundle: Bundle, neighbour: Bundle, stage: int) -> None:
    def transplant(envelopes: list[Any]) -> None:
        envelopes[stage] = envelopes_of(neighbour.receipt)[stage]

    assert failed(audit(bundle, with_envelopes(bundle, transplant))) == (7, "E_CHAIN_RUN")


def test_attack_41_every_stage_of_another_run(bundle: Bundle, neighbour: Bundle) -> None:
    def transplant(envelopes: list[Any]) -> None:
        envelopes[:COMPILE] = envelopes_of(neighbour.receipt)[:COMPILE]

    assert failed(audit(bundle, with_envelopes(bundle, transplant))) == (7, "E_CHAIN_RUN")


@pytest.mark.parametrize(("place", "check"), [(COMPILE, 7), (PROVENANCE, 8), (TEST_RESULT, 8)])
def test_attack_41_a_statement_about_this_artifact_from_another_run(
    bundle: Bundle, place: int, check: int
) -> None:
    def other_run(statements: Statements) -> None:
        text = json.dumps(statements[place]).replace("0123456789abcdef" * 2, "e" * 32)
        statements[place] = json.loads(text)

    assert failed(audit(bundle, resigned(bundle, other_run))) == (check, "E_CHAIN_RUN")


def test_attack_42_a_stage_that_names_no_previous_one(bundle: Bundle) -> None:
    statements = payloads(bundle.receipt)
    statements[2]["predicate"]["previous"] = None
    receipt = enveloped(bundle, [canonical_json(statement) for statement in statements])
    assert failed(audit(bundle, receipt)) == (7, "E_CHAIN_LINK")


def consumed(statements: Statements, stage: str, name: str) -> dict[str, Any]:
    items = statements[STAGE[stage]]["predicate"]["consumes"]
    return next(item for item in items if item["name"] == name)


def made(statements: Statements, stage: str, name: str) -> dict[str, Any]:
    return next(item for item in statements[STAGE[stage]]["subject"] if item["name"] == name)


def another_adapter_was_scored(statements: Statements) -> None:
    consumed(statements, "eval", "adapter/adapter_model.safetensors")["sha256"] = "0" * 64


def another_set_was_trained_on(statements: Statements) -> None:
    consumed(statements, "train", "train/set.json")["sha256"] = "0" * 64


def another_base_was_loaded(statements: Statements) -> None:
    consumed(statements, "train", "base")["sha256"] = "0" * 64


def data_from_outside(statements: Statements) -> None:
    consumed(statements, "train", "train/set.json")["from"] = "external"


def an_input_less(statements: Statements) -> None:
    statements[STAGE["package"]]["predicate"]["consumes"].pop()


def an_output_less(statements: Statements) -> None:
    statements[STAGE["train"]]["subject"].pop()


def another_log(statements: Statements) -> None:
    made(statements, "train", "train/log.jsonl")["digest"]["sha256"] = "0" * 64
    consumed(statements, "package", "train/log.jsonl")["sha256"] = "0" * 64


def another_spec(statements: Statements) -> None:
    made(statements, "spec", "spec.yaml")["digest"]["sha256"] = "0" * 64
    for stage in ("data", "train", "package"):
        consumed(statements, stage, "spec.yaml")["sha256"] = "0" * 64


def from_a_later_stage(statements: Statements) -> None:
    consumed(statements, "train", "train/set.json")["from"] = "eval"


def its_own_output(statements: Statements) -> None:
    item = {"name": "modules.json", "from": "data"}
    digest = made(statements, "train", "modules.json")["digest"]["sha256"]
    statements[STAGE["train"]]["predicate"]["consumes"].append({**item, "sha256": digest})


@pytest.mark.parametrize(
    "edit",
    [
        another_set_was_trained_on,
        another_base_was_loaded,
        data_from_outside,
        an_input_less,
        an_output_less,
        another_log,
    ],
)
def test_attack_42_an_input_that_no_earlier_stage_made(
    bundle: Bundle, edit: Callable[[Statements], None]
) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (7, "E_CHAIN_LINK")


@pytest.mark.parametrize("edit", [from_a_later_stage, its_own_output])
def test_attack_43_a_stage_that_feeds_on_itself(bundle: Bundle, edit: Callable[[Statements], None]) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (7, "E_CHAIN_CYCLE")


def test_attack_45_the_digest_of_another_spec(bundle: Bundle) -> None:
    assert failed(audit(bundle, resigned(bundle, another_spec))) == (7, "E_SPEC_MISMATCH")


def test_attack_51_another_adapter_was_scored(bundle: Bundle) -> None:
    receipt = resigned(bundle, another_adapter_was_scored)
    assert failed(audit(bundle, receipt)) == (7, "E_EVAL_SUBJECT")


def other_spec_in_slsa(statements: Statements) -> None:
    build(statements)["externalParameters"]["spec"]["digest"]["sha256"] = "0" * 64


def other_base_in_slsa(statements: Statements) -> None:
    build(statements)["resolvedDependencies"].pop()


def other_seed_in_slsa(statements: Statements) -> None:
    build(statements)["internalParameters"]["seed"] += 1


def other_start_in_slsa(statements: Statements) -> None:
    statements[PROVENANCE]["predicate"]["runDetails"]["metadata"]["startedOn"] = "2025-01-01T00:00:00Z"


def finished_before_it_started(statements: Statements) -> None:
    early = "2025-01-01T00:00:00Z"
    statements[PROVENANCE]["predicate"]["runDetails"]["metadata"]["finishedOn"] = early
    statements[COMPILE]["predicate"]["finished"] = early


def passed_in_the_test_result(statements: Statements) -> None:
    statements[TEST_RESULT]["predicate"]["result"] = "PASSED"


def nothing_failed_in_the_test_result(statements: Statements) -> None:
    statements[TEST_RESULT]["predicate"]["warnedTests"] = []


def other_outputs_in_the_test_result(statements: Statements) -> None:
    statements[TEST_RESULT]["predicate"]["configuration"][2]["digest"]["sha256"] = "0" * 64


def more_that_was_tested(statements: Statements) -> None:
    statements[TEST_RESULT]["predicate"]["configuration"].append({"name": "review", "uri": "urn:me"})


def a_link_beside_a_tested_file(statements: Statements) -> None:
    statements[TEST_RESULT]["predicate"]["configuration"][1]["uri"] = "https://example.org/another-pack"


def the_run_by_its_bare_name(statements: Statements) -> None:
    run = statements[TEST_RESULT]["predicate"]["configuration"][3]
    run["uri"] = run["uri"].removeprefix("urn:kolm:run:")


def other_version_of_kolm(statements: Statements) -> None:
    statements[PROVENANCE]["predicate"]["runDetails"]["builder"]["version"]["kolm"] = "9.9"


def other_name(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["name"] = "letters"


def other_family(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["family"] = "llava"


def other_licence(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["base"]["licence"] = "mit"


def other_file_name(statements: Statements) -> None:
    statements[COMPILE]["subject"][0]["name"] = "letters.kolm"


@pytest.mark.parametrize(
    "edit",
    [
        other_spec_in_slsa,
        other_base_in_slsa,
        other_seed_in_slsa,
        other_start_in_slsa,
        finished_before_it_started,
        passed_in_the_test_result,
        nothing_failed_in_the_test_result,
        other_outputs_in_the_test_result,
        more_that_was_tested,
        a_link_beside_a_tested_file,
        the_run_by_its_bare_name,
        other_version_of_kolm,
        other_name,
        other_family,
        other_licence,
        other_file_name,
    ],
)
def test_attack_44_statements_that_contradict_each_other(
    bundle: Bundle, edit: Callable[[Statements], None]
) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (8, "E_CHAIN_CONFLICT")


def other_counts(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["modules"]["counts"]["frozen"] += 1


def other_manifest(statements: Statements) -> None:
    cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    statements[COMPILE]["predicate"]["modules"]["cid"] = cid


def other_patterns(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["modules"]["frozen_modules"].append("visual")


@pytest.mark.parametrize("edit", [other_counts, other_manifest, other_patterns])
def test_attack_46_a_module_summary_of_another_manifest(
    bundle: Bundle, edit: Callable[[Statements], None]
) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (10, "E_MODULES_MISMATCH")


@pytest.mark.parametrize("member", ["root", "train", "validation", "eval"])
def test_data_counts_of_another_set(bundle: Bundle, member: str) -> None:
    def edit(statements: Statements) -> None:
        data = statements[COMPILE]["predicate"]["data"]
        data[member] = "0" * 64 if member == "root" else data[member] + 1

    assert failed(audit(bundle, resigned(bundle, edit))) == (9, "E_SPEC_MISMATCH")

"""A trusted key signs statements that are not what a receipt holds."""

from collections.abc import Callable

import pytest

from tests.bundles import Bundle
from tests.tampering.lies import (
    COMPILE,
    PROVENANCE,
    Statements,
    audit,
    build,
    chain,
    enveloped,
    failed,
    payloads,
    resigned,
)


def extra_parameter(statements: Statements) -> None:
    build(statements)["externalParameters"]["flags"] = "--skip-eval"


def extra_claim(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["approved"] = True


def a_text_for_a_number(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["vlm_train"]["lora_r"] = "2"


def both_blocks(statements: Statements) -> None:
    block = dict(statements[COMPILE]["predicate"]["vlm_train"])
    del block["freeze_vision"]
    statements[COMPILE]["predicate"]["text_train"] = block


def no_block(statements: Statements) -> None:
    del statements[COMPILE]["predicate"]["vlm_train"]


def local_time(statements: Statements) -> None:
    statements[COMPILE]["predicate"]["finished"] = "2026-01-31T12:01:00+02:00"


def no_environment(statements: Statements) -> None:
    del statements[COMPILE]["predicate"]["environment"]


def other_build_type(statements: Statements) -> None:
    build(statements)["buildType"] = "urn:kolm:buildtype:vlm-compile:v2"


def a_hosted_builder(statements: Statements) -> None:
    statements[PROVENANCE]["predicate"]["runDetails"]["builder"]["id"] = "https://github.com/actions/runner"


def unknown_type(statements: Statements) -> None:
    statements[COMPILE]["predicateType"] = "urn:kolm:compile:v2"


def old_statement(statements: Statements) -> None:
    statements[COMPILE]["_type"] = "https://in-toto.io/Statement/v0.1"


def a_stage_under_anothers_type(statements: Statements) -> None:
    statements[1]["predicate"]["stage"] = "eval"


def weak_digest(statements: Statements) -> None:
    statements[COMPILE]["subject"][0]["digest"]["md5"] = "0" * 32


def two_subjects(statements: Statements) -> None:
    subject = statements[COMPILE]["subject"]
    subject.append({**subject[0], "name": "other.kolm", "digest": {"sha256": "0" * 64}})


def no_subject(statements: Statements) -> None:
    statements[COMPILE]["subject"] = []


def one_output_twice(statements: Statements) -> None:
    statements[0]["subject"] *= 2


def other_subject(statements: Statements) -> None:
    statements[PROVENANCE]["subject"][0]["digest"]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    "edit",
    [
        extra_parameter,
        extra_claim,
        a_text_for_a_number,
        both_blocks,
        no_block,
        local_time,
        no_environment,
        other_build_type,
        a_hosted_builder,
    ],
)
def test_attack_36_a_predicate_with_another_member_or_value(
    bundle: Bundle, edit: Callable[[Statements], None]
) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (6, "E_SCHEMA")


@pytest.mark.parametrize("edit", [unknown_type, old_statement, a_stage_under_anothers_type])
def test_attack_37_a_statement_of_another_type(bundle: Bundle, edit: Callable[[Statements], None]) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (6, "E_STATEMENT_TYPE")


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (weak_digest, "E_DIGEST_ALG"),
        (two_subjects, "E_SUBJECT_AMBIGUOUS"),
        (no_subject, "E_SUBJECT_AMBIGUOUS"),
        (one_output_twice, "E_SUBJECT_AMBIGUOUS"),
        (other_subject, "E_SUBJECT_MISMATCH"),
    ],
)
def test_attack_39_another_subject_or_digest(
    bundle: Bundle, edit: Callable[[Statements], None], code: str
) -> None:
    assert failed(audit(bundle, resigned(bundle, edit))) == (6, code)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b'{"_type": 1}', b'{"a":1,"a":1}', b"\xff", b"[" * 5000],
    ids=["empty", "a-list", "null", "spaced", "twice", "not-utf8", "deep"],
)
def test_a_payload_that_is_no_statement(bundle: Bundle, payload: bytes) -> None:
    number, code = failed(audit(bundle, enveloped(bundle, [payload] * 8)))
    assert number == 6
    assert code in {"E_JSON_CANONICAL", "E_STATEMENT_TYPE"}


def test_chaining_again_changes_nothing_honest(bundle: Bundle) -> None:
    statements = payloads(bundle.receipt)
    chain(statements)
    assert statements == bundle.statements
    assert resigned(bundle, lambda _: None) == bundle.receipt

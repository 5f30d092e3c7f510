import ast
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kolm
from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.errors import VerificationError
from kolm.pack import pack_from_members
from kolm.scorecard import read_rows, score_artifact
from kolm.tlog.note import NoteKey
from kolm.trust import TrustStore, trust_key, trust_log
from kolm.verify import CHECKS, AuditReport, verify_bundle
from tests.bundles import Bundle, Members, make_bundle

SOURCES = Path(kolm.__file__).resolve().parent
PAGE = Path(__file__).resolve().parents[2] / "specs" / "formats" / "verification.md"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def report(bundle: Bundle) -> AuditReport:
    return verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust, base_dir=bundle.base_dir)


def test_an_honest_bundle_passes_every_check(report: AuditReport, bundle: Bundle) -> None:
    assert [check.status for check in report.checks] == [*["passed"] * 17, "skipped", "skipped"]
    assert report.ok
    assert report.failure is None
    assert (report.verdict, report.artifact, report.keys) == ("PASS", bundle.cid, (bundle.key.key_id,))


def test_a_trained_projector_verifies(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, rows=2, projector="full")
    assert verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust, base_dir=bundle.base_dir).ok


def test_a_text_only_model_passes_every_check(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, text=True)
    report = verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust, base_dir=bundle.base_dir)
    assert [check.status for check in report.checks] == [*["passed"] * 17, "skipped", "skipped"]
    assert report.verdict == "PASS"
    assert report.compile is not None
    assert report.compile.vlm_train is None
    gate = {condition.id: condition.ok for condition in report.compile.k_score.gate.conditions}
    assert gate["image_gain"] is None
    assert report.compile.k_score.accuracy["grey"] is None
    holdout = report.checks[14]
    assert (holdout.evidence, "are not comparable" in holdout.detail) == ("signed only", True)


def test_the_checks_are_numbered_as_in_the_format_page() -> None:
    rows = re.findall(r"^\| (\d+) \| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(int(number), name) for number, name in rows] == [(step.number, step.id) for step in CHECKS]


def test_every_code_of_the_list_of_checks_is_explained() -> None:
    checks, _, codes = PAGE.read_text(encoding="utf-8").partition("## 3. Codes")
    explained = set(re.findall(r"`(E_[A-Z0-9_]+)`", codes))
    asked = re.findall(r"`(E_[A-Z0-9_]+\*?)`", checks)
    assert asked
    for code in asked:
        assert any(known.startswith(code.rstrip("*")) for known in explained), code


def codes_in(path: Path) -> set[str]:
    """Return the codes that a module spells as a whole text."""
    found = (node.value for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Constant))
    return {text for text in found if isinstance(text, str) and re.fullmatch(r"E_[A-Z0-9_]*[A-Z0-9]", text)}


def test_every_code_that_kolm_raises_is_in_the_closed_list_and_no_other() -> None:
    closed = PAGE.read_text(encoding="utf-8").partition("## 3. Codes")[2].partition("\n## ")[0]
    raised = {code for path in SOURCES.rglob("*.py") for code in codes_in(path)}
    assert {"E_INTERNAL", "E_ZIP64", "E_CID_SYNTAX", "E_IO"} <= raised
    assert raised == set(re.findall(r"`(E_[A-Z0-9_]+)`", closed))


def test_each_check_cites_its_number() -> None:
    for step in CHECKS:
        assert (step.run.__doc__ or "").startswith(f"({step.number}) ")


def test_a_check_builds_only_on_earlier_ones() -> None:
    for step in CHECKS:
        assert all(number < step.number for number in step.needs)


def test_the_report_says_where_each_answer_comes_from(report: AuditReport) -> None:
    evidence = {check.id: check.evidence for check in report.checks}
    assert evidence["scores"] == evidence["adapter"] == evidence["base"] == "recomputed"
    assert evidence["frozen"] == "signed only"


def test_without_the_base_its_check_is_not_made_and_says_so(bundle: Bundle) -> None:
    report = verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust)
    base = report.checks[12]
    assert (base.id, base.status, base.evidence) == ("base", "skipped", "signed only")
    assert report.ok


def test_a_failed_prerequisite_skips_what_builds_on_it(bundle: Bundle) -> None:
    report = verify_bundle(bundle.artifact_path, bundle.receipt, TrustStore.of())
    status = {check.number: check.status for check in report.checks}
    assert status[5] == "failed"
    assert {number for number, value in status.items() if value == "skipped"} == {
        6,
        7,
        8,
        9,
        10,
        13,
        16,
        17,
        18,
        19,
    }
    assert status[11] == status[12] == status[14] == status[15] == "passed"
    assert report.verdict is None
    assert report.compile is None
    assert report.keys == ()


def test_where_nobody_who_is_trusted_signed_nothing_is_signed_only(bundle: Bundle) -> None:
    """Also check 12, which needs no receipt, and passes: its word is nobody's then."""
    for receipt, trust in ((bundle.receipt, TrustStore.of()), (None, bundle.trust)):
        report = verify_bundle(bundle.artifact_path, receipt, trust)
        assert "signed only" not in {check.evidence for check in report.checks}
        frozen = report.checks[11]
        assert (frozen.status, frozen.evidence) == ("passed", "absent")
        assert frozen.detail.endswith("; the word of nobody who is trusted")


def test_the_report_says_when_with_which_kolm_by_whose_keys_and_policy_it_was_made(
    bundle: Bundle, tmp_path: Path
) -> None:
    trust_key(tmp_path, bundle.key.public)
    trust_log(tmp_path, (vkey := NoteKey("example.org/log", bundle.key.public).vkey))
    (tmp_path / "policy.yaml").write_text("require_log: false\nrequire_pass: true\n")
    store = TrustStore.open(tmp_path)
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    report = verify_bundle(bundle.artifact_path, bundle.receipt, store, now=at)
    said = report.to_json(trust=store)
    assert (said["at"], said["kolm"]) == ("2026-05-01T12:00:00Z", kolm.__version__)
    asked = {"require_pass": True, "replay_mismatch": 0.0, "require_log": False, "log_max_age_days": None}
    assert said["policy"] == asked
    there = {"dir": str(tmp_path), "keys": [bundle.key.key_id], "revocations": 0, "log": vkey}
    assert said["trust"] == there
    assert report.to_json()["trust"] is None


def test_the_report_is_json(report: AuditReport) -> None:
    document = json.loads(json.dumps(report.to_json()))
    assert document["ok"] is True
    assert document["failure"] is None
    assert [check["number"] for check in document["checks"]] == list(range(1, len(CHECKS) + 1))


def test_a_file_that_is_not_there_is_reported(bundle: Bundle, tmp_path: Path) -> None:
    report = verify_bundle(tmp_path / "nothing.kolm", bundle.receipt, bundle.trust)
    assert report.failure is not None
    assert (report.failure.number, report.failure.code) == (1, "E_IO")
    assert report.artifact is None


@given(artifact=st.binary(max_size=200), receipt=st.binary(max_size=200))
def test_garbage_gives_a_report_and_never_an_exception(
    tmp_path_factory: pytest.TempPathFactory, artifact: bytes, receipt: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.kolm"
    path.write_bytes(artifact)
    assert not verify_bundle(path, receipt, TrustStore.of()).ok


def test_a_model_without_a_vision_tower_has_no_blind_controls(tmp_path: Path) -> None:
    def controlled(members: Members) -> None:
        rows = parse_canonical_lines(bytes(members["eval/rows.jsonl"]), what="rows")  # type: ignore[arg-type]
        for row in rows:
            row["outputs"]["grey"] = row["outputs"]["base"]
        members["eval/rows.jsonl"] = canonical_lines(rows)

    artifact = make_bundle(tmp_path, rows=2, text=True, edit=controlled).facts.artifact
    with pytest.raises(VerificationError, match="one too many"):
        read_rows(artifact, pack=pack_from_members(artifact.read))


def test_a_missing_timing_is_a_missing_axis_and_fails_the_gate(bundle: Bundle) -> None:
    timings = [{**row, "tuned_ns": None} for row in bundle.facts.timings["rows"]]
    k = score_artifact(bundle.facts.artifact, timings=timings, attempts=1, near_duplicates=0)
    assert k["axes"]["L"]["value"] is None
    assert (k["value"], k["gate"]["verdict"]) == (None, "FAIL")


def test_an_unmeasured_latency_is_signed_and_verifies(tmp_path: Path) -> None:
    def unmeasured(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{**row, "tuned_ns": None} for row in rows]

    honest = make_bundle(tmp_path / "honest", rows=2)
    timings = dict(honest.facts.timings) | {"rows": unmeasured(honest.facts.timings["rows"])}
    k = score_artifact(honest.facts.artifact, timings=timings["rows"], attempts=1, near_duplicates=0)
    bundle = make_bundle(tmp_path / "unmeasured", rows=2, timings=timings, k_score=k)
    report = verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust)
    assert report.ok
    assert report.verdict == "FAIL"

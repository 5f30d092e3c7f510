"""The page of an audit: every check once, every claim under what shows it, nothing from a file but text."""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import kolm
from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.report.audit import Asked, audit_page, policy_words
from kolm.tlog.note import NoteKey
from kolm.trust import TrustedKey, TrustStore
from kolm.verify import CHECKS, AuditReport, Replayed, verify_bundle
from tests.bundles import Bundle, make_bundle

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
ASKED = Asked("given.kolm", "given.receipt.json", TrustStore.of())
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    def claim(stated: dict[str, Any]) -> None:
        stated["environment"]["host"] = HOSTILE

    return make_bundle(tmp_path_factory.mktemp("bundle"), rows=2, claim=claim)


@pytest.fixture(scope="module")
def audit(bundle: Bundle) -> AuditReport:
    return verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust)


class Outline(HTMLParser):
    """Text under each heading, and the names of all elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.under: dict[str, str] = {}
        self._heading, self._inside = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self._inside = tag if tag in ("h1", "h2", "h3") else self._inside
        assert not any(name.startswith("on") or "javascript:" in (value or "") for name, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside in ("h2", "h3"):
            self._heading = data
        self.under[self._heading] = self.under.get(self._heading, "") + data


def test_claims_stand_under_what_shows_them(audit: AuditReport) -> None:
    under = Outline(audit_page(audit, ASKED, at=AT)).under
    for group, claim in (
        ("Recomputed", "scores, K and verdict follow from the outputs"),
        ("Replayed or replayable", "outputs drawn by the auditor are what the model says"),
        ("Signed only", "how much memory it took"),
        ("Signed only", "the base is the one named"),
        ("Absent", "the registry's log holds this receipt"),
    ):
        assert claim in under[group]
    assert "2026-05-01 12:00 UTC" in under[""]


def test_every_check_stands_there_by_its_number(audit: AuditReport) -> None:
    checks = Outline(audit_page(audit, ASKED)).under["Checks"]
    assert re.findall(r"^(\d+)\. ", checks, re.MULTILINE) == [str(step.number) for step in CHECKS]
    assert all(f"{step.number}. {step.title}" in checks for step in CHECKS)


def test_a_failure_is_absent_and_says_its_code(bundle: Bundle) -> None:
    audit = verify_bundle(bundle.artifact_path, bundle.receipt, TrustStore.of())
    under = Outline(audit_page(audit, ASKED)).under
    assert "NOT VERIFIED" in under[""]
    assert "E_KEY_UNTRUSTED" in under["Absent"]
    assert "how much memory it took" not in under["Signed only"]
    assert "Nothing." in under["Signed only"]
    assert "unchanged; the word of nobody who is trusted" in under["Absent"]
    assert "signed only" not in under["Checks"]


def test_garbage_gets_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "x.kolm").write_bytes(b"garbage")
    audit = verify_bundle(tmp_path / "x.kolm", None, TrustStore.of())
    assert "not a container that can be read" in audit_page(audit, ASKED)


def test_what_was_asked_again_is_told(audit: AuditReport) -> None:
    checks = tuple(replace(c, evidence="replayed") if c.id == "replay" else c for c in audit.checks)
    page = audit_page(replace(audit, checks=checks, replayed=Replayed("ab" * 16, ["row-0"], [], 0.0)), ASKED)
    assert "ab" * 16 in page
    assert "outputs drawn by the auditor" in Outline(page).under["Replayed or replayable"]


def test_nothing_from_a_file_is_more_than_text(audit: AuditReport) -> None:
    first = replace(audit.checks[0], detail=HOSTILE, hint=HOSTILE, status="failed", code="E_ZIP_NAME")
    page = audit_page(replace(audit, checks=(first, *audit.checks[1:])), ASKED)
    assert "script" not in Outline(page).elements
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J\\u202e") >= 4


def test_the_style_is_the_one_that_the_policy_names(audit: AuditReport) -> None:
    page = audit_page(audit, ASKED)
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page


def header(audit: AuditReport, asked: Asked) -> str:
    """Return the words at the top of the page."""
    top = audit_page(audit, asked, at=AT).partition("<h1>")[2].partition("<nav")[0]
    return " ".join(unescape(re.sub("<[^>]+>", " ", top)).replace(" ;", ";").replace(" :", ":").split())


def test_the_page_says_which_files_whose_keys_which_policy_when_and_by_which_kolm(
    audit: AuditReport, bundle: Bundle
) -> None:
    keyid = bundle.key.key_id
    trusted = TrustedKey(bundle.key.public, until=datetime(2030, 1, 1, tzinfo=UTC), label="the lab")
    log = NoteKey("example.org/log", PrivateKey.generate().public)
    policy = Policy(require_pass=True, log_max_age_days=30)
    trust = TrustStore(Path("my/trust"), {keyid: trusted}, {}, policy, log)
    said = header(audit, Asked("a.kolm", "b.json", trust, proof="c.proof", checkpoint="d", base="models/e"))
    for words in (
        f"{audit.artifact} a.kolm",
        f"{audit.receipt} b.json",
        f"{keyid} trusted as the lab, until 2030-01-01 00:00 UTC",
        "my/trust: keys 1, revocations 0, log example.org/log",
        "the gate must say PASS; no log proof is required; its checkpoint is at most 30 days old; every",
        "models/e log proof c.proof log compared with d",
        f"2026-05-01 12:00 UTC with kolm {kolm.__version__}",
        "not checked 13. the base is the one named: no --base given",
        "19. the registry's log holds this receipt: there is no proof",
    ):
        assert words in said


def test_a_failure_is_told_at_the_top_with_its_reason_and_the_next_step(bundle: Bundle) -> None:
    audit = verify_bundle(bundle.artifact_path, bundle.receipt, TrustStore.of())
    said = header(audit, ASKED)
    assert audit.failure is not None
    assert (
        f"Check 5 (signatures) failed with E_KEY_UNTRUSTED: {audit.failure.detail} {audit.failure.hint}"
        in said
    )
    assert "nobody who is trusted" in said


def test_bytes_that_are_no_container_have_a_name(tmp_path: Path) -> None:
    (tmp_path / "x.kolm").write_bytes(b"garbage")
    audit = verify_bundle(tmp_path / "x.kolm", None, TrustStore.of())
    assert "its bytes have the CID bafkx x.kolm" in header(
        audit, replace(ASKED, artifact="x.kolm", cid="bafkx")
    )


def test_names_and_labels_are_text_too(audit: AuditReport, bundle: Bundle) -> None:
    trust = TrustStore(Path(HOSTILE), {bundle.key.key_id: TrustedKey(bundle.key.public, label=HOSTILE)})
    page = audit_page(audit, Asked(HOSTILE, HOSTILE, trust, proof=HOSTILE, checkpoint=HOSTILE, base=HOSTILE))
    assert "script" not in Outline(page).elements
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_every_demand_of_a_policy_is_told() -> None:
    strict = Policy(require_pass=True, replay_mismatch=0.05, require_log=True, log_max_age_days=0.5)
    assert len({*policy_words(Policy()).split("; "), *policy_words(strict).split("; ")}) == 8
    assert "at most 0.5 days" in policy_words(strict)
    assert "5%" in policy_words(strict)

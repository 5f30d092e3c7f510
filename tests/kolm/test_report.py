"""The report: everything it promises is on the page, and nothing a model said can act there."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kolm.artifact import Artifact
from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.receipt import Receipt
from kolm.report import report_html
from kolm.report.answers import LONGEST, SHOWN
from tests.bundles import Bundle, Members, make_bundle

HOSTILE = "</dd><script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"


def page(bundle: Bundle) -> str:
    return report_html(Artifact.open(bundle.artifact_path), Receipt.parse(bundle.receipt_path.read_bytes()))


VOID = frozenset({"meta", "img", "br", "path", "rect", "circle"})
"""Elements that are never closed by an end tag."""


class Page(HTMLParser):
    """What a browser would make of a page: sections, links, scripts, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.scripts = 0
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.scripts += tag == "script"
        self.sections += [found["id"] or ""] if tag == "section" else []
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name in found if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(make_bundle(tmp_path_factory.mktemp("report")))


def test_every_section_is_there_and_every_element_closed(honest: str):
    found = Page(honest)
    assert found.sections == [
        "gate", "k", "slices", "answers", "training", "modules", "data", "provenance", "limits",
    ]  # fmt: skip
    assert not found.open


def test_nothing_is_fetched_from_outside(honest: str):
    found = Page(honest)
    assert found.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in found.addresses)
    assert "default-src 'none'" in honest
    assert found.scripts == 1


def test_the_numbers_are_those_of_the_receipt(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    text = page(bundle)
    artifact, receipt = Artifact.open(bundle.artifact_path), Receipt.parse(bundle.receipt_path.read_bytes())
    assert artifact.cid in text
    assert receipt.cid in text
    (compiled,) = [s.predicate for s in receipt.unverified() if s.predicate_type == "urn:kolm:compile:v1"]
    assert f"<b>{compiled.k_score.value:.3f}</b>K" in text
    assert compiled.k_score.gate.verdict in text
    for condition in compiled.k_score.gate.conditions:
        assert condition.id in text


def hostile_answers(members: Members) -> None:
    lines = parse_canonical_lines(members["eval/rows.jsonl"], what="rows")
    for line in lines:
        line["outputs"]["tuned"] |= {"raw": HOSTILE, "extracted": HOSTILE, "score": 0.0}
        line["outputs"]["base"] |= {"raw": "\u202egnorw" + "x" * 5000, "extracted": None, "score": 0.0}
        line["outputs"]["base"]["extracted"] = line["outputs"]["base"]["raw"]
    members["eval/rows.jsonl"] = canonical_lines(lines)


def test_what_a_model_said_is_shown_and_does_nothing(tmp_path: Path):
    text = page(make_bundle(tmp_path, edit=hostile_answers))
    found = Page(text)
    assert found.scripts == 1
    assert not found.handlers
    assert not any("example.org" in address for address in found.addresses)
    assert "&lt;script&gt;alert(1)" in text
    assert max(map(len, re.findall(r"x+", text))) <= LONGEST


def test_only_some_rows_are_shown(honest: str):
    assert 0 < honest.count('<article class="answer"') <= sum(SHOWN.values())


@pytest.mark.parametrize(
    "kind", [{"text": True}, {"method": "dora"}, {"method": "full", "projector": "full"}, {"rows": 20}]
)
def test_every_kind_of_artifact_has_a_report(tmp_path: Path, kind: dict[str, object]):
    found = Page(page(make_bundle(tmp_path, **kind)))
    assert not found.open
    assert "limits" in found.sections

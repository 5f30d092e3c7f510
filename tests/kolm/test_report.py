"""The report: everything it promises is on the page, and nothing a model said can act there."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import Artifact
from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.errors import ArtifactError
from kolm.receipt import Receipt
from kolm.report import Facts, facts_of, html_page
from kolm.report.answers import LONGEST, SHOWN
from kolm.report.scores import MANY_ATTEMPTS
from tests.bundles import Bundle, Members, make_bundle

HOSTILE = "</dd><script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"


def facts(bundle: Bundle) -> Facts:
    return facts_of(Artifact.open(bundle.artifact_path), Receipt.parse(bundle.receipt))


def page(bundle: Bundle) -> str:
    return html_page(facts(bundle))


VOID = frozenset({"meta", "img", "br", "input"})
"""Elements that are never closed by an end tag."""


class Page(HTMLParser):
    """What a browser would make of a page: sections, links, scripts, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.scripts = 0
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.scripts += tag == "script"
        self.sections += [found["id"] or ""] if tag == "section" else []
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [found["id"] or ""] if "id" in found else []
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
        "gate", "k", "slices", "evaluation", "answers", "training", "modules", "data", "provenance", "limits",
    ]  # fmt: skip
    assert not found.open


def test_nothing_is_fetched_from_outside_and_nothing_runs(honest: str):
    found = Page(honest)
    inside = [address[1:] for address in found.addresses if address.startswith("#")]
    pictures = [address for address in found.addresses if not address.startswith("#")]
    assert inside
    assert set(inside) <= set(found.ids)
    assert pictures
    assert all(address.startswith("data:image/jpeg;base64,") for address in pictures)
    assert found.scripts == 0


def test_the_policy_names_the_one_style_by_its_digest(honest: str):
    (style,) = re.findall(r"<style>(.*?)</style>", honest, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', honest)
    assert policy.startswith(f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'")
    assert " style=" not in honest


def test_every_id_is_there_once(honest: str):
    ids = Page(honest).ids
    assert len(ids) == len(set(ids))


def test_the_numbers_are_those_of_the_receipt(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    text = page(bundle)
    artifact, receipt = Artifact.open(bundle.artifact_path), Receipt.parse(bundle.receipt_path.read_bytes())
    assert artifact.cid in text
    assert receipt.cid in text
    (compiled,) = [s.predicate for s in receipt.unverified() if s.predicate_type == "urn:kolm:compile:v1"]
    assert f"<b>{compiled.k_score.value:.3f}</b><span>K</span>" in text
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
    assert found.scripts == 0
    assert not found.handlers
    assert not any("example.org" in address for address in found.addresses)
    assert "&lt;script&gt;alert(1)" in text
    assert max(map(len, re.findall(r"x+", text))) <= LONGEST


def test_only_some_rows_are_shown(honest: str):
    assert 0 < honest.count('<article class="answer ') <= sum(SHOWN.values())


@pytest.mark.parametrize(
    "kind", [{"text": True}, {"method": "dora"}, {"method": "full", "projector": "full"}, {"rows": 20}]
)
def test_every_kind_of_artifact_has_a_report(tmp_path: Path, kind: dict[str, object]):
    found = Page(page(make_bundle(tmp_path, **kind)))
    assert not found.open
    assert "limits" in found.sections


def stated(tmp_path: Path, **changes: Any) -> str:
    """The page of a bundle whose compile statement says other things."""

    def claim(said: dict[str, Any]) -> None:
        for name, value in changes.items():
            said["k_score"][name] = value

    return page(make_bundle(tmp_path, claim=claim))


@pytest.mark.parametrize(("attempts", "advised"), [(1, False), (MANY_ATTEMPTS, True)])
def test_many_attempts_ask_for_a_fresh_pack(tmp_path: Path, attempts: int, advised: bool):
    assert ("take a fresh pack" in stated(tmp_path, attempts=attempts)) is advised


def test_a_small_slice_is_called_too_small(tmp_path: Path):
    text = page(make_bundle(tmp_path, rows=20))
    assert "too few rows: " in text
    assert '<div class="row few">' in text


def test_what_nobody_measured_is_not_shown_as_measured(tmp_path: Path):
    """Members that a receipt may leave out, all at once."""
    bundle = make_bundle(tmp_path, evaluation=None, planned=None, near_duplicates=None)
    text = page(bundle)
    assert "is not recorded" in text
    assert text.count("not predicted") == 2
    assert "not looked for" in text


def test_an_accuracy_with_nothing_in_it_still_makes_a_page(tmp_path: Path):
    found = Page(stated(tmp_path, accuracy={"slices": {}}, value=None, interval=None))
    assert not found.open


@pytest.mark.parametrize(
    "accuracy",
    [{"slices": []}, {"slices": {"read": {"n": "<b>"}}}, {"tuned": {"value": 1, "interval": [1]}}],
    ids=["slices are a list", "a count is a text", "an interval has one end"],
)
def test_an_accuracy_of_another_form_is_refused(tmp_path: Path, accuracy: dict[str, Any]):
    with pytest.raises(ArtifactError, match=r"k_score\.accuracy"):
        stated(tmp_path, accuracy=accuracy)


def test_plan_and_actual_stand_beside_each_other(tmp_path: Path):
    text = page(make_bundle(tmp_path, planned={"peak_bytes": 100_000_000, "step_ns": 2_500_000}))
    assert re.search(r'100\.0 MB</td><td class="n">123\.5 MB</td><td class="n">1\.23<', text)
    assert re.search(r'2\.5 ms</td><td class="n">5 ms</td><td class="n">2\.00<', text)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"batch": 1, "compared": 0, "differing": 0}, "One question at a time."),
        ({"batch": 8, "compared": 50, "differing": 0}, "Up to 8 questions at once; 50 of them also alone"),
        ({"batch": 8, "compared": 50, "differing": 2}, "2 answered otherwise: so every question was asked"),
    ],
    ids=["alone", "together", "together and otherwise"],
)
def test_how_it_was_asked_is_what_was_seen(tmp_path: Path, seen: dict[str, int], says: str):
    assert says in page(make_bundle(tmp_path, evaluation=seen))


def test_names_of_slices_are_text(tmp_path: Path):
    text = stated(tmp_path, accuracy={"slices": {HOSTILE: {"n": 40, "base": 0.5, "tuned": 0.75}}})
    found = Page(text)
    assert not found.open
    assert found.scripts == 0
    assert not found.handlers
    assert "&lt;script&gt;alert(1)" in text
    assert "0.50 to 0.75" in text

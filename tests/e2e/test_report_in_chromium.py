"""The report in a real browser: it fits a desk, a phone and paper, it filters, it asks nobody."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from kolm.artifact import Artifact
from kolm.receipt import Receipt
from kolm.report import facts_of, html_page
from tests.bundles import make_bundle
from tests.chromium import Page, chromium
from tests.e2e.conftest import Compiled
from tests.questions import rescored

DESK, PHONE = 1280, 390


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def report(qwen: Compiled) -> Path:
    """The report of a real compile."""
    return qwen.out / "digits.report.html"


def shown(page: Page, selector: str) -> int:
    """Count the elements that take room on the page."""
    return page.evaluate(
        f"[...document.querySelectorAll('{selector}')].filter(e => e.getClientRects().length).length"
    )


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_a_report_opens_without_a_complaint_and_asks_for_nothing(browser: Page, report: Path, width: int):
    browser.open(report, width=width)
    assert browser.complaints == []
    assert [address for address in browser.requests if not address.startswith("data:image/jpeg")] == [
        report.resolve().as_uri()
    ]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    picture = Image.open(io.BytesIO(browser.screenshot()))
    assert picture.width == width
    assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 8  # something was drawn


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_text_stays_readable(browser: Page, report: Path, width: int):
    browser.open(report, width=width)
    sizes = browser.evaluate(
        "[...new Set([...document.querySelectorAll('p, td, th, dd, dt, label, summary, span, code')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))]"
    )
    assert min(sizes) >= 11


def test_what_stands_over_a_picture_is_as_large_as_the_picture(browser: Page, tmp_path: Path):
    edit = rescored("iou-unit@1", "0.1,0.1,0.5,0.5", "[0, 0, 0.2, 0.2]", "[0.1, 0.1, 0.5, 0.6]")
    page = written(tmp_path, rows=6, edit=edit)
    browser.open(page, width=PHONE)
    sizes = browser.evaluate(
        "[...document.querySelectorAll('.picture')].map(p => ['img', 'svg'].map(name => {"
        "const r = p.querySelector(name).getBoundingClientRect(); return [r.x, r.y, r.width, r.height]}))"
    )
    assert len(sizes) == 6
    assert all(image == marks and image[2] > 0 for image, marks in sizes)


def test_filters_show_the_kind_that_was_chosen(browser: Page, report: Path):
    browser.open(report, width=DESK)
    everything = shown(browser, ".answer")
    kinds = {kind: shown(browser, f".answer.{kind}") for kind in ("broken", "fixed", "wrong", "right")}
    assert sum(kinds.values()) == everything > 0
    for kind, count in kinds.items():
        browser.click(f"label[for=kind-{kind}]")
        assert shown(browser, ".answer") == shown(browser, f".answer.{kind}") == count
    browser.click("label[for=kind-all]")
    assert shown(browser, ".answer") == everything


def test_details_open_when_they_are_clicked_and_on_paper_by_themselves(browser: Page, report: Path):
    browser.open(report, width=PHONE)
    folded = ".answer details:not([open]) dd"
    assert browser.evaluate(f"document.querySelectorAll('{folded}').length") > 0
    height = "document.querySelector('.answer details').getBoundingClientRect().height"
    before = browser.evaluate(height)
    browser.click(".answer details summary")
    assert browser.evaluate("document.querySelector('.answer details').open")
    assert browser.evaluate(height) > before
    browser.open(report, width=DESK)
    folded_height = browser.evaluate(height)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(height) > folded_height
    assert shown(browser, ".filters") == 0
    browser.call("Emulation.setEmulatedMedia", media="")


def test_a_report_is_printed_on_a4_without_dark_backgrounds(browser: Page, report: Path):
    browser.open(report, width=DESK)
    data = browser.pdf()
    assert data.startswith(b"%PDF-")
    boxes = re.findall(rb"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", data)
    assert len(boxes) >= 3
    assert {(round(float(width)), round(float(height))) for width, height in boxes} <= {
        (595, 842),
        (596, 842),
    }
    browser.call("Emulation.setEmulatedMedia", media="print")
    dark = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.getClientRects().length)"
        ".map(e => getComputedStyle(e).backgroundColor.match(/[0-9.]+/g).map(Number))"
        ".filter(c => (c[3] === undefined || c[3] > 0) && Math.min(c[0], c[1], c[2]) < 128).length"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert dark == 0


HOSTILE = (
    "</dd></article><script>document.title = 'stolen'</script><img src=http://example.org/x onerror=alert(1)>"
    "<style>body{display:none}</style><svg onload=alert(2)>" + "W" * 100_000
)


def test_hostile_answers_do_nothing_and_do_not_widen_a_phone(browser: Page, tmp_path: Path):
    page = written(tmp_path, rows=6, edit=rescored("exact@1", "x" * 3_000, HOSTILE, f"\u202e{HOSTILE}"))
    browser.open(page, width=PHONE)
    assert browser.evaluate("document.title") == "digits: INCONCLUSIVE"
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.complaints == []
    assert not any("example.org" in address for address in browser.requests)
    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert shown(browser, ".answer") == 6


def test_fields_fit_a_phone(browser: Page, tmp_path: Path):
    gold = '{"menu":[{"name":"' + "W" * 90 + '","price":"12,000"}],"' + "total" * 40 + '":"12"}'
    page = written(tmp_path, rows=6, edit=rescored("cord-ted@1", gold, "nothing", '{"menu": "<b>tea</b>"}'))
    browser.open(page, width=PHONE)
    assert browser.complaints == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert browser.evaluate(
        "[...document.querySelectorAll('.fields')].every(t => t.scrollWidth <= t.parentElement.clientWidth)"
    )


def written(folder: Path, **bundle: object) -> Path:
    """Write the report of a made-up bundle."""
    made = make_bundle(folder, **bundle)  # type: ignore[arg-type]
    facts = facts_of(Artifact.open(made.artifact_path), Receipt.parse(made.receipt))
    path = folder / "report.html"
    path.write_text(html_page(facts), encoding="utf-8")
    return path

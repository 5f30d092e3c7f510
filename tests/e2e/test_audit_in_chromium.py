"""The page of an audit in a real browser: it fits a desk, a phone and paper, and asks nobody."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kolm.report.audit import NOT_SAID, Asked, audit_page
from kolm.trust import TrustStore
from kolm.verify import verify_bundle
from tests.bundles import make_bundle
from tests.chromium import Page, chromium
from tests.conftest import program


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module", params=["trusted", "not trusted"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an audit that passed, and of one that failed, with a name as long as a name may be."""
    folder = tmp_path_factory.mktemp("audit")
    bundle = make_bundle(folder, rows=2, name="w" * 60)
    trust = bundle.trust if request.param == "trusted" else TrustStore.of()
    path = folder / "audit.html"
    audit = verify_bundle(bundle.artifact_path, bundle.receipt, trust)
    asked = Asked(f"{'long-folder/' * 20}x.kolm", "y.receipt.json", trust, cid=bundle.cid, base="b" * 200)
    path.write_text(audit_page(audit, asked), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_without_a_complaint_and_asks_for_nothing(browser: Page, page: Path, width: int):
    browser.open(page, width=width)
    assert browser.complaints == []
    assert browser.requests == [page.resolve().as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    sizes = browser.evaluate(
        "[...new Set([...document.querySelectorAll('p, td, th, li, span, code')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))]"
    )
    assert min(sizes) >= 11


def printed(browser: Page, path: Path) -> bytes:
    """Return the text of the open page as it is printed; a form feed ends each sheet."""
    path.write_bytes(browser.pdf())
    return subprocess.run(
        [program("pdftotext"), "-layout", path, "-"], capture_output=True, check=True
    ).stdout


def test_the_page_is_printed_whole(browser: Page, page: Path):
    browser.open(page, width=1280)
    text = printed(browser, page.with_suffix(".pdf"))
    for word in (b"Recomputed", b"Replayed or replayable", b"Signed only", b"Absent", b"19. the registry"):
        assert word in text


def test_what_no_audit_says_is_printed_on_one_sheet(browser: Page, page: Path):
    browser.open(page, width=1280)
    for offset in range(0, 1000, 200):
        browser.evaluate(f"document.querySelector('#limits').style.marginTop = '{offset}px'")
        sheets = printed(browser, page.with_suffix(".pdf")).split(b"\f")
        (sheet,) = (sheet for sheet in sheets if b"What verification does not say" in sheet)
        assert all(" ".join(said.split()[:4]).encode() in sheet for said in NOT_SAID)

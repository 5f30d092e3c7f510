"""Attack 71: names and answers that would steer a terminal or a page (attacks.md)."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kolm.artifact import Artifact, write_artifact
from kolm.cli import inspect, key, store, verify
from kolm.keys import PrivateKey
from kolm.receipt import Receipt
from kolm.report import facts_of, html_page, markdown_card
from kolm.trust import trust_key
from kolm.visible import printable
from registry.app import create_app
from registry.settings import RegistrySettings
from tests.bundles import Bundle, make_bundle
from tests.kolm.test_report_card import parts_of
from tests.registry.conftest import serving
from tests.registry.offers import TakesItsWord, make_offer

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u202c\u200b\u2066\x9b31m\r\nVERIFIED all of it\n"
    "<script>alert(1)</script><img src=x onerror=alert(1)>"
)
STEERING = [*map(chr, range(9)), *map(chr, range(11, 32)), *map(chr, range(127, 160))]
STEERING += [*"\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff"]


def kolm(*arguments: object) -> str:
    app = typer.Typer()
    for name, function in {
        "verify": verify.verify,
        "inspect": inspect.inspect,
        "search": store.search,
        "pull": store.pull,
    }.items():
        app.command(name)(function)
    app.add_typer(key.app, name="key")
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.stdout + result.stderr


def assert_harmless(shown: str) -> None:
    assert not [letter for letter in STEERING if letter in shown]
    assert not any(line.startswith("VERIFIED all") for line in shown.splitlines())


class Page(HTMLParser):
    """Counts what acts: scripts, pictures from elsewhere, handlers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.acting: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed"}:
            self.acting.append(tag)
        self.acting += [name for name, _ in attrs if name.startswith("on")]
        self.acting += [value for name, value in attrs if name == "src" and value == "x" and value]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose maker chose every free text to do harm; signed, and wrong in its names only."""
    made = make_bundle(
        tmp_path_factory.mktemp("hostile"),
        rows=4,
        environment={"host": HOSTILE, HOSTILE: "x"},
        claim=lambda facts: facts["train_block"].update(papers=[HOSTILE]),
    )
    base = made.facts.artifact.manifest.base.model_dump() | {"model": HOSTILE, "licence": HOSTILE}
    path = made.artifact_path.with_name("named.kolm")
    write_artifact(path, made.members, name=HOSTILE, task=HOSTILE, family=HOSTILE, base=base)
    return made


def test_attack_71_every_character_that_steers_is_shown_as_an_escape() -> None:
    for letter in STEERING:
        assert letter not in printable(f"a{letter}b"), repr(letter)
    assert (
        printable("caf\u00e9 \u4e2d\u6587 \u05e9\u05dc\u05d5\u05dd")
        == "caf\u00e9 \u4e2d\u6587 \u05e9\u05dc\u05d5\u05dd"
    )


@pytest.mark.parametrize("file", ["digits.kolm", "digits.receipt.json", "named.kolm"])
def test_attack_71_inspect(hostile: Bundle, file: str) -> None:
    shown = kolm("inspect", hostile.artifact_path.with_name(file))
    assert_harmless(shown)
    assert ("\\x1b[2J" in shown) == (file != "digits.kolm")


def test_attack_71_verify(hostile: Bundle, tmp_path: Path) -> None:
    trust_key(tmp_path / "trust", hostile.key.public, label=HOSTILE)
    for file in ("digits.kolm", "named.kolm"):
        path = hostile.artifact_path.with_name(file)
        options = ["--receipt", hostile.receipt_path, "--trust", tmp_path / "trust"]
        assert_harmless(kolm("verify", path, *options, "--report", tmp_path / "page.html"))
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert not Page(page).acting
        assert not [letter for letter in STEERING if letter in page]


def test_attack_71_verify_a_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / HOSTILE.replace("/", "_")
    path.write_bytes(b"PK")
    assert_harmless(kolm("verify", path))
    assert_harmless(kolm("inspect", path))


def test_attack_71_the_list_of_trusted_keys(tmp_path: Path) -> None:
    trust_key(tmp_path / "trust", PrivateKey.generate().public, label=HOSTILE)
    shown = kolm("key", "list", "--dir", tmp_path / "trust")
    assert_harmless(shown)
    assert "\\x1b[2J" in shown


def test_attack_71_search_and_pull(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    settings = RegistrySettings(data=tmp_path / "data", trust=tmp_path / "trust")
    offer = make_offer(tmp_path / "offer", name=HOSTILE, base=HOSTILE)
    with serving(create_app(settings, verifier=TakesItsWord())) as url:
        from registry.client import RegistryClient

        with RegistryClient(url) as client:
            client.push(offer.artifact, offer.receipt)
        found = kolm("search", "--registry", url)
        assert "\\x1b[2J" in found
        assert_harmless(found)
        assert_harmless(kolm("pull", offer.cid, "--registry", url, "--out", tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[0].startswith(offer.cid)


def test_attack_71_json_is_ascii(hostile: Bundle) -> None:
    shown = kolm("inspect", hostile.receipt_path, "--json").splitlines()[0]
    assert shown.isascii()
    assert_harmless(shown)
    assert json.loads(shown)["vlm_train"]["papers"] == [HOSTILE]


@pytest.mark.parametrize("file", ["digits.kolm", "named.kolm"])
def test_attack_71_the_report_and_the_card(hostile: Bundle, file: str) -> None:
    artifact = Artifact.open(hostile.artifact_path.with_name(file))
    facts = facts_of(artifact, Receipt.parse(hostile.receipt))
    card = markdown_card(facts)
    front, body = parts_of(card)
    assert isinstance(front, dict)
    assert not Page(html_page(facts)).acting
    assert not Page(body).acting
    assert not [letter for letter in STEERING if letter in card]

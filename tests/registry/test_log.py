"""The registry's log over HTTP: what is stored is logged once, and readers need not believe it."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from kolm.cid import cid_of
from kolm.cli import app
from kolm.entries import receipt_entry
from kolm.errors import RegistryError, SpecError
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import EMPTY_ROOT
from kolm.tlog.note import NoteKey
from kolm.tlog.proof import LogProof
from registry.app import create_app
from registry.client import RegistryClient
from registry.settings import RegistrySettings
from tests.kolm.tlog.logs import KEY, LOG, ORIGIN
from tests.registry.conftest import serving
from tests.registry.impostors import answering
from tests.registry.offers import Offer, TakesItsWord, make_offer, slug


def key_of(application: FastAPI) -> NoteKey:
    key: NoteKey = application.state.service.log.key
    return key


def test_an_upload_is_in_the_log_when_it_is_acknowledged(
    application: FastAPI, http: TestClient, offer: Offer, tmp_path: Path
):
    later = make_offer(tmp_path / "later", k=0.95, finished="2026-02-01T12:00:00Z")
    first = http.post("/v1/artifacts", files=offer.parts()).json()["log"]
    second = http.post("/v1/artifacts", files=later.parts()).json()["log"]
    assert (first, second) == ({"index": 0, "size": 1}, {"index": 1, "size": 2})
    assert http.post("/v1/artifacts", files=offer.parts()).json()["log"] == {"index": 0, "size": 2}
    for each, index in ((offer, 0), (later, 1)):
        answer = http.get(f"/v1/artifacts/{each.cid}/proof", params={"receipt": each.receipt_cid})
        proof = LogProof.parse(answer.content)
        assert proof.index == index
        assert proof.check(receipt_entry(each.cid, each.receipt_cid), key_of(application)).size == 2
    newest = http.get(f"/v1/artifacts/{offer.cid}/proof")
    assert LogProof.parse(newest.content).index == 1
    tag = f'"{cid_of(newest.content)}"'
    assert (newest.headers["cache-control"], newest.headers["etag"]) == ("no-cache", tag)
    assert slug(http.get(f"/v1/artifacts/{later.receipt_cid}/proof")) == "not_found"
    assert slug(http.get(f"/v1/artifacts/{offer.cid}/proof?receipt={offer.cid}")) == "not_found"
    assert slug(http.get(f"/v1/artifacts/{offer.cid}/proof?receipt=x")) == "bad_cid"


def test_what_is_refused_is_not_logged(application: FastAPI, http: TestClient, tmp_path: Path):
    failed = make_offer(tmp_path / "failed", verdict="FAIL")
    assert slug(http.post("/v1/artifacts", files=failed.parts())) == "gate_not_passed"
    assert application.state.service.log.size == 0


def test_tiles_and_checkpoint_are_static_files(application: FastAPI, http: TestClient, offer: Offer):
    http.post("/v1/artifacts", files=offer.parts())
    answer = http.get("/tlog/checkpoint")
    assert answer.headers["cache-control"] == "no-store"
    assert Checkpoint.open(answer.content, key_of(application)).size == 1
    for path in ("/tlog/tile/entries/000.p/1", "/tlog/tile/0/000.p/1"):
        answer = http.get(path)
        tag = f'"{cid_of(answer.content)}"'
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "immutable" in answer.headers["cache-control"]
        assert (answer.headers["etag"], http.head(path).headers["etag"]) == (tag, tag)
        unchanged = http.get(path, headers={"If-None-Match": tag})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["cache-control"] == answer.headers["cache-control"]
        assert http.get(path, headers={"Range": "bytes=0-1"}).content == answer.content
    assert http.get("/tlog/tile/entries/000.p/1").content[2:] == receipt_entry(offer.cid, offer.receipt_cid)


@pytest.mark.parametrize(
    "path",
    [
        "0/000",
        "0/000.p/01",
        "0/..%2f..%2fjournal",
        "..%2fjournal",
        "0/0",
        "0/x000/000",
        "lock",
        "",
        "0/000.p/1/",
    ],
)
def test_no_other_path_is_served(http: TestClient, offer: Offer, path: str):
    http.post("/v1/artifacts", files=offer.parts())
    assert slug(http.get(f"/tlog/tile/{path}")) == "not_found"


def test_equal_uploads_at_once_are_logged_once(application: FastAPI, http: TestClient, offer: Offer):
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(http.post, "/v1/artifacts", files=offer.parts()) for _ in range(16)]
        assert {answer.result().json()["log"]["index"] for answer in answers} == {0}
    assert application.state.service.log.size == 1


def test_a_log_is_found_again_and_an_index_that_was_lost_is_made_again(
    settings: RegistrySettings, application: FastAPI, offer: Offer
):
    with TestClient(application) as http:
        http.post("/v1/artifacts", files=offer.parts())
    vkey = application.state.service.log.key.vkey
    assert (settings.data / "log.pem").stat().st_mode & 0o777 == 0o600
    (settings.data / "index.sqlite3").unlink()
    shutil.rmtree(settings.data / "blobs")
    again = create_app(settings, verifier=TakesItsWord())
    assert again.state.service.log.key.vkey == vkey
    with TestClient(again) as http:
        assert http.post("/v1/artifacts", files=offer.parts()).json()["log"] == {"index": 0, "size": 1}


def test_a_log_has_the_name_that_is_given(settings: RegistrySettings):
    named = RegistrySettings(data=settings.data, trust=settings.trust, origin="example.com/log")
    with TestClient(create_app(named)) as http:
        assert http.get("/tlog/checkpoint").text.startswith("example.com/log\n0\n")
    for name in ("two words", "a+b", "line\nbreak", "x" * 300):
        with pytest.raises(SpecError, match="cannot name a log"):
            create_app(RegistrySettings(data=settings.data, trust=settings.trust, origin=name))


def kolm(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def known(application: FastAPI, url: str, offer: Offer, kolm_home: Path) -> Iterator[str]:
    """A registry with one artifact, whose log the trust directory knows."""
    trust = kolm_home / "trust"
    trust.mkdir(exist_ok=True)
    (trust / "log.vkey").write_text(application.state.service.log.key.vkey + "\n")
    pushed = kolm("push", offer.artifact, "--receipt", offer.receipt, "--registry", url)
    assert pushed.exit_code == 0, pushed.stderr
    return url


def test_push_and_pull_bring_the_proof(known: str, application: FastAPI, offer: Offer, tmp_path: Path):
    beside = offer.artifact.with_suffix(".proof")
    entry = receipt_entry(offer.cid, offer.receipt_cid)
    assert LogProof.parse(beside.read_bytes()).check(entry, key_of(application)).size == 1
    files = json.loads(kolm("pull", offer.cid, "--registry", known, "--out", tmp_path / "o", "--json").stdout)
    assert Path(files["proof"]).read_bytes() == beside.read_bytes()
    more = make_offer(tmp_path / "more", name="more")
    kolm("push", more.artifact, "--receipt", more.receipt, "--registry", known)
    again = kolm("pull", offer.cid, "--registry", known, "--out", tmp_path / "o")
    assert again.exit_code == 0, again.stderr
    assert LogProof.parse(Path(files["proof"]).read_bytes()).check(entry, key_of(application)).size == 2


def test_kolm_log_prints_and_remembers(known: str, offer: Offer, kolm_home: Path, tmp_path: Path):
    first = kolm("log", "--registry", known)
    assert first.exit_code == 0, first.stderr
    assert first.stdout.split() == ["0", "receipt", offer.cid, offer.receipt_cid]
    assert re.search(r": 1 entries, signed 2\d\d\d-\d\d-\d\dT\S*Z, seen for the first time", first.stderr)
    more = make_offer(tmp_path / "more", name="more")
    kolm("push", more.artifact, "--receipt", more.receipt, "--registry", known)
    second = kolm("log", "--registry", known, "--begin", "1", "--json")
    said = json.loads(second.stdout)
    assert (said["size"], [row["index"] for row in said["entries"]]) == (2, [1])
    assert abs(said["time"] - time.time()) < 600
    assert "consistent with the 1 seen before" in second.stderr
    (kept,) = (kolm_home / "logs").glob("*.checkpoint")
    assert f"kept as {kept}; kolm verify takes no older proof" in second.stderr


@pytest.mark.parametrize(
    ("moment", "words"),
    [(None, "signed without a time"), (2**63, "signed 9223372036854775808 seconds after 1970")],
)
def test_a_time_that_is_none_does_not_stop_kolm_log(moment: int | None, words: str, kolm_home: Path):
    note = Checkpoint(ORIGIN, 0, EMPTY_ROOT).signed(KEY, time=moment or 0)
    if moment is None:
        note = b"".join(note.splitlines(keepends=True)[:-1])
    (kolm_home / "trust").mkdir(exist_ok=True)
    (kolm_home / "trust" / "log.vkey").write_text(LOG.vkey)
    with answering(lambda *_, **__: (200, {}, note)) as url:
        answer = kolm("log", "--registry", url)
    assert answer.exit_code == 0, answer.stderr
    assert words in answer.stderr


def test_kolm_log_asks_whose_log_to_believe(url: str):
    answer = kolm("log", "--registry", url)
    assert answer.exit_code == 2
    assert "log.vkey" in answer.stderr


def test_a_log_that_is_set_back_is_exit_7_with_evidence(
    known: str, kolm_home: Path, settings: RegistrySettings
):
    assert kolm("log", "--registry", known).exit_code == 0
    key = (settings.data / "log.pem").read_bytes()
    other = RegistrySettings(data=settings.data.with_name("other"), trust=settings.trust)
    other.data.mkdir()
    (other.data / "log.pem").write_bytes(key)
    (other.data / "log.pem").chmod(0o600)
    with serving(create_app(other, verifier=TakesItsWord())) as address:
        answer = kolm("log", "--registry", address, "--json")
    assert answer.exit_code == 7
    assert json.loads(answer.stdout)["error"]["check"] == "E_LOG_ROLLBACK"
    notes = sorted(path.name for path in (kolm_home / "logs" / "evidence").rglob("*.checkpoint"))
    assert notes == ["offered.checkpoint", "seen.checkpoint"]
    assert kolm("log", "--registry", known).exit_code == 0  # the last one seen stays what it was


def test_what_was_shown_to_be_in_the_log_is_printed_before_what_is_not(
    known: str, application: FastAPI, settings: RegistrySettings, offer: Offer
):
    log = application.state.service.log
    for at in range(300):
        log.add(b"%d" % at)
    (settings.data / "tlog" / "tile" / "entries" / "001.p" / "45").write_bytes(b"\x00\x01x" * 45)
    answer = kolm("log", "--registry", known)
    assert answer.exit_code == 7
    assert answer.stdout.count("\n") == 256
    assert "not in the log" in answer.stderr


def test_a_proof_of_something_else_is_not_kept(application: FastAPI, url: str, offer: Offer, tmp_path: Path):
    other = make_offer(tmp_path / "other", name="other")
    with RegistryClient(url) as client:
        for each in (offer, other):
            client.push(each.artifact, each.receipt)
        honest = application.state.service
        theirs = honest.log.proof(receipt_entry(other.cid, other.receipt_cid))
        application.state.service = replace(honest, log=_Lying(honest.log, theirs))
        with pytest.raises(RegistryError, match="a log proof that is not about this receipt"):
            client.pull(offer.cid, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


class _Lying:
    """A log that gives one proof for every entry."""

    def __init__(self, log: object, proof: bytes | None) -> None:
        self._log, self._proof = log, proof

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def proof(self, _entry: bytes) -> bytes | None:
        return self._proof


@pytest.mark.slow
def test_uploads_through_http_are_logged_in_time(url: str, tmp_path: Path):
    """Distinct receipts of one small artifact, eight clients at once."""
    count = 800
    offers = [
        make_offer(tmp_path / str(at), finished=f"2026-01-{1 + at // 60:02d}T12:{at % 60:02d}:00Z")
        for at in range(count)
    ]
    took: list[float] = []
    local = threading.local()

    def push(each: Offer) -> None:
        client = local.client = getattr(local, "client", None) or RegistryClient(url)
        begun = time.perf_counter()
        client.push(each.artifact, each.receipt)
        took.append(time.perf_counter() - begun)

    begin = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, offers))
    rate = count / (time.perf_counter() - begin)
    took.sort()
    p99 = took[int(count * 0.99)]
    print(f"\nthrough HTTP: {rate:.0f} uploads/s, p50 {took[count // 2]:.3f} s, p99 {p99:.3f} s")  # noqa: T201
    assert p99 < 5

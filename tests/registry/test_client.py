"""The client against a real server on loopback, and against servers that are none or lie."""

import gzip
import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kolm.cid import cid_of
from kolm.errors import ArtifactError, RegistryError, StorageError
from registry.client import RegistryClient
from tests.registry.impostors import Reply, answering, lying
from tests.registry.offers import Offer, make_offer


def test_push_search_and_pull_give_back_the_same_bytes(url: str, offer: Offer, tmp_path: Path):
    with RegistryClient(url) as client:
        stored = client.push(offer.artifact, offer.receipt)
        assert (stored["cid"], stored["created"]) == (offer.cid, True)
        assert client.push(offer.artifact, offer.receipt)["created"] is False
        assert [item["cid"] for item in client.search(base="tiny-vl", frozen="visual")] == [offer.cid]
        assert client.search(base="another") == []
        paths = client.pull(offer.cid, out=tmp_path / "out")
    assert paths.artifact == tmp_path / "out" / "digits.kolm"
    assert paths.artifact.read_bytes() == offer.artifact.read_bytes()
    assert paths.receipt.read_bytes() == offer.receipt.read_bytes()
    assert paths.modules.read_bytes() == offer.modules
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "digits.kolm",
        "digits.modules.json",
        "digits.proof",
        "digits.receipt.json",
    ]


def test_search_follows_the_pages(url: str, tmp_path: Path):
    with RegistryClient(url, page_size=2) as client:
        for number in range(5):
            each = make_offer(tmp_path / str(number), name=f"n{number}")
            client.push(each.artifact, each.receipt)
        names = [item["name"] for item in client.search()]
        assert names == ["n4", "n3", "n2", "n1", "n0"]
        assert [item["name"] for item in client.search(limit=3)] == names[:3]


def test_a_refusal_carries_the_registrys_words(url: str, offer: Offer, tmp_path: Path):
    failed = make_offer(tmp_path / "failed", name="failed", verdict="FAIL")
    with RegistryClient(url) as client:
        with pytest.raises(RegistryError, match="gate_not_passed: the gate's verdict is FAIL") as caught:
            client.push(failed.artifact, failed.receipt)
        assert "--push-failed" in caught.value.hint
        assert client.push(failed.artifact, failed.receipt, allow_failed=True)["verdict"] == "FAIL"
        with pytest.raises(RegistryError, match="verification_failed: E_SUBJECT_MISMATCH"):
            client.push(offer.artifact, failed.receipt)
        with pytest.raises(RegistryError, match="not_found") as caught:
            client.pull(cid_of(b"nobody has this"), out=tmp_path / "out")
        assert "kolm search" in caught.value.hint
    assert list((tmp_path / "out").iterdir()) == []


def test_an_artifact_that_is_too_large_is_refused_in_the_middle(url: str, offer: Offer, tmp_path: Path):
    large = tmp_path / "large.kolm"
    large.write_bytes(bytes(30_000_000))
    with RegistryClient(url) as client, pytest.raises(RegistryError, match="too_large"):
        client.push(large, offer.receipt)


def test_pulling_again_changes_nothing_and_never_overwrites(url: str, offer: Offer, tmp_path: Path):
    with RegistryClient(url) as client:
        client.push(offer.artifact, offer.receipt)
        paths = client.pull(offer.cid, out=tmp_path)
        assert client.pull(offer.cid, out=tmp_path) == paths
        paths.receipt.write_text("mine")
        with pytest.raises(StorageError, match=r"digits\.receipt\.json: exists with other content"):
            client.pull(offer.cid, out=tmp_path)
        assert paths.receipt.read_text() == "mine"
        client.pull(offer.cid, out=tmp_path, overwrite=True)
        assert paths.receipt.read_bytes() == offer.receipt.read_bytes()


def test_a_name_that_is_not_a_file_name_becomes_the_cid(url: str, tmp_path: Path):
    sly = make_offer(tmp_path / "sly", name="../../sly")
    with RegistryClient(url) as client:
        client.push(sly.artifact, sly.receipt)
        paths = client.pull(sly.cid, out=tmp_path / "out")
    assert paths.artifact == tmp_path / "out" / f"{sly.cid}.kolm"


def test_what_is_not_a_cid_is_refused_before_asking(tmp_path: Path):
    with RegistryClient("http://127.0.0.1:9") as client, pytest.raises(ArtifactError) as caught:
        client.pull("nonsense", out=tmp_path / "out")
    assert caught.value.check == "E_CID_SYNTAX"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "defect", ["artifact bytes", "receipt bytes", "receipt of another", "truncated artifact"]
)
def test_nothing_is_kept_of_what_has_another_cid(offer: Offer, tmp_path: Path, defect: str):
    other = make_offer(tmp_path / "other", name="charts")
    data, proof = offer.artifact.read_bytes(), offer.receipt.read_bytes()
    reply = {
        "artifact bytes": lying(offer, artifact=data[:-1] + bytes([data[-1] ^ 1])),
        "receipt bytes": lying(offer, receipt=proof + b"\n", tag=cid_of(proof)),
        "receipt of another": lying(offer, receipt=other.receipt.read_bytes()),
        "truncated artifact": lying(offer, artifact=data[:100]),
    }[defect]
    out = tmp_path / "out"
    with answering(reply) as url, RegistryClient(url) as client, pytest.raises(RegistryError) as caught:
        client.pull(offer.cid, out=out)
    assert "the registry sent" in caught.value.message
    assert "sent a a" not in caught.value.message
    assert "do not use" in caught.value.hint
    assert list(out.iterdir()) == []


def test_a_transfer_that_breaks_off_leaves_nothing(offer: Offer, tmp_path: Path):
    whole = lying(offer)
    with (
        answering(lambda path, **_: (200, {"Content-Length": "999999"}, whole(path)[2])) as url,
        RegistryClient(url, timeout=1) as client,
        pytest.raises(RegistryError),
    ):
        client.pull(offer.cid, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_in_the_way_leaves_the_other_files_as_they_were(url: str, offer: Offer, tmp_path: Path):
    with RegistryClient(url) as client:
        client.push(offer.artifact, offer.receipt)
        (tmp_path / "digits.kolm").write_text("mine")
        (tmp_path / "digits.receipt.json").mkdir()
        with pytest.raises(StorageError, match=r"digits\.receipt\.json: it is not a plain file"):
            client.pull(offer.cid, out=tmp_path, overwrite=True)
    assert (tmp_path / "digits.kolm").read_text() == "mine"
    assert not (tmp_path / "digits.modules.json").exists()


def test_data_without_an_end_is_broken_off(offer: Offer, tmp_path: Path):
    sent = 0

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self):
            nonlocal sent
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while sent < 200_000_000:
                    sent += self.wfile.write(bytes(1_000_000))

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        with (
            RegistryClient(f"http://127.0.0.1:{server.server_port}", max_artifact_bytes=2_000_000) as client,
            pytest.raises(RegistryError, match="more than 2000000 bytes"),
        ):
            client.pull(offer.cid, out=tmp_path / "out")
    finally:
        server.shutdown()
        server.server_close()
    assert sent < 100_000_000
    assert list((tmp_path / "out").iterdir()) == []


def test_data_that_unfolds_to_more_than_its_length_is_refused(offer: Offer, tmp_path: Path):
    bomb = gzip.compress(bytes(50_000_000))
    with (
        answering(lambda *_, **__: (200, {"Content-Encoding": "gzip"}, bomb)) as url,
        RegistryClient(url) as client,
        pytest.raises(RegistryError, match=f"more than {len(bomb)} bytes"),
    ):
        client.pull(offer.cid, out=tmp_path / "out")


NOT_A_REGISTRY: dict[str, Reply] = {
    "a web page": (200, {"Content-Type": "text/html"}, b"<html>hello</html>"),
    "a page that is missing": (404, {"Content-Type": "text/html"}, b"<h1>404</h1>"),
    "another address": (302, {"Location": "https://example.org/"}, b""),
    "JSON of another kind": (200, {"Content-Type": "application/json"}, b'{"hello": 1}'),
    "a JSON list": (200, {"Content-Type": "application/json"}, b"[]"),
    "deep JSON": (200, {"Content-Type": "application/json"}, b"[" * 100_000),
    "a problem that is none": (500, {"Content-Type": "application/problem+json"}, b"oops"),
    "too much": (200, {"Content-Type": "application/json"}, b" " * (16 * 1024 * 1024 + 1)),
    "garbled compression": (200, {"Content-Encoding": "gzip"}, b"not gzip"),
}


@pytest.mark.parametrize("found", NOT_A_REGISTRY)
def test_what_answers_but_is_not_a_registry(found: str):
    with (
        answering(lambda *_, **__: NOT_A_REGISTRY[found]) as url,
        RegistryClient(url) as client,
        pytest.raises(RegistryError, match="does not look like a kolm registry") as caught,
    ):
        client.search()
    assert "/healthz" in caught.value.hint
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999999", "http://a b/", "http://[::"],
)
def test_an_address_that_is_none(address: str):
    with pytest.raises(RegistryError, match="not the address of a registry") as caught:
        RegistryClient(address)
    assert "http://127.0.0.1:8150" in caught.value.hint


def test_an_address_where_nobody_listens():
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{idle.getsockname()[1]}"
        with (
            RegistryClient(address) as client,
            pytest.raises(RegistryError, match="cannot connect") as caught,
        ):
            client.search()
    assert "kolm registry serve" in caught.value.hint


def test_a_registry_that_never_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            RegistryClient(address, timeout=0.2) as client,
            pytest.raises(RegistryError, match="no answer in time"),
        ):
            client.search()


def test_the_token_is_sent_as_bearer():
    page = json.dumps({"items": [], "next": None}).encode()
    seen: list[str | None] = []

    def reply(_path: str, *, token: str | None) -> Reply:
        seen.append(token)
        return 200, {}, page

    with answering(reply) as url, RegistryClient(url, token="secret") as client:
        client.search()
    assert seen == ["Bearer secret"]

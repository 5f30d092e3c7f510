"""Attacks 66 and 67: a registry that lies, and uploads that lie to one (attacks.md)."""

import json
import threading
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from kolm.cid import cid_of
from kolm.errors import RegistryError
from kolm.trust import TrustStore
from kolm.verify import verify_bundle
from registry.app import create_app
from registry.client import RegistryClient
from registry.settings import RegistrySettings
from tests.registry.asking import SOMEBODY, blobs_of
from tests.registry.conftest import serving
from tests.registry.impostors import answering, lying
from tests.registry.offers import Offer, TakesItsWord, make_offer, slug


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    (tmp_path / "trust").mkdir()
    return RegistrySettings(data=tmp_path / "data", trust=tmp_path / "trust")


@pytest.fixture
def offer(tmp_path: Path) -> Offer:
    return make_offer(tmp_path / "offer")


# 66: a mirror


@pytest.mark.parametrize("defect", ["a flipped byte", "other bytes", "cut off", "too much", "nothing"])
def test_attack_66_a_mirror_that_sends_other_bytes(offer: Offer, tmp_path: Path, defect: str) -> None:
    data = offer.artifact.read_bytes()
    sent = {
        "a flipped byte": data[:-1] + bytes([data[-1] ^ 1]),
        "other bytes": make_offer(tmp_path / "other", name="charts").artifact.read_bytes(),
        "cut off": data[:-1],
        "too much": data + b"\x00",
        "nothing": b"",
    }[defect]
    out = tmp_path / "out"
    with (
        answering(lying(offer, artifact=sent)) as url,
        RegistryClient(url) as client,
        pytest.raises(RegistryError, match=f"with the CID {cid_of(sent)}, not {offer.cid}"),
    ):
        client.pull(offer.cid, out=out)
    assert list(out.iterdir()) == []
    (tmp_path / "kept.kolm").write_bytes(sent)
    report = verify_bundle(
        tmp_path / "kept.kolm", offer.receipt.read_bytes(), TrustStore.of(), expected_cid=offer.cid
    )
    assert not report.ok


def test_attack_66_a_length_that_is_not_that_of_the_bytes(offer: Offer, tmp_path: Path) -> None:
    whole = offer.artifact.read_bytes()
    for length in (len(whole) - 1, len(whole) + 1):
        with (
            answering(lambda *_, n=length, **__: (200, {"Content-Length": str(n)}, whole)) as url,
            RegistryClient(url, timeout=1) as client,
            pytest.raises(RegistryError),
        ):
            client.pull(offer.cid, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://127.0.0.1:9/", "//evil.example/", "/"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_attack_66_a_redirect_is_not_followed(offer: Offer, tmp_path: Path, target: str, status: int) -> None:
    with (
        answering(lambda *_, **__: (status, {"Location": target}, b"")) as url,
        RegistryClient(url) as client,
        pytest.raises(RegistryError, match=f"it answered with status {status}"),
    ):
        client.pull(offer.cid, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("part", ["cid", "receipt"])
def test_attack_66_an_upload_that_is_answered_with_another_cid(offer: Offer, part: str) -> None:
    """Else the proof that is written beside the artifact would be of a receipt that nobody here has."""
    honest = {"cid": offer.cid, "receipt": offer.receipt_cid, "created": True, "verdict": "PASS", "k": 0.9}
    lying = FastAPI()
    lying.post("/v1/artifacts")(lambda: honest | {"log": {"index": 0, "size": 1}, part: SOMEBODY})
    with (
        serving(lying) as url,
        RegistryClient(url) as client,
        pytest.raises(RegistryError, match="answered an upload with another CID"),
    ):
        client.push(offer.artifact, offer.receipt)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "file://127.0.0.1/x", "ftp://127.0.0.1/"])
def test_attack_66_an_address_that_is_no_registrys(address: str) -> None:
    with pytest.raises(RegistryError, match="not the address of a registry"):
        RegistryClient(address)


# 67: an upload


def test_attack_67_a_false_claim_about_the_bytes(settings: RegistrySettings, offer: Offer) -> None:
    with TestClient(create_app(settings, verifier=TakesItsWord())) as http:
        answer = http.post("/v1/artifacts", files=offer.parts(cid=SOMEBODY))
    assert (answer.status_code, slug(answer)) == (422, "cid_mismatch")
    assert blobs_of(settings) == []


def test_attack_67_two_receipts_of_one_artifact_at_once(
    settings: RegistrySettings, offer: Offer, tmp_path: Path
) -> None:
    offers = [offer, *(make_offer(tmp_path / str(n), k=0.5 + n / 10) for n in range(3))]
    assert {each.cid for each in offers} == {offer.cid}
    start, statuses = threading.Barrier(len(offers)), []
    with serving(create_app(settings, verifier=TakesItsWord())) as url:

        def push(each: Offer) -> None:
            start.wait()
            with RegistryClient(url) as client:
                statuses.append(client.push(each.artifact, each.receipt)["created"])

        threads = [threading.Thread(target=push, args=(each,)) for each in offers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with httpx.Client(base_url=url, trust_env=False) as http:
            kept = {row["cid"] for row in http.get(f"/v1/artifacts/{offer.cid}/receipts").json()["items"]}
            assert http.get(f"/v1/artifacts/{offer.cid}").content == offer.artifact.read_bytes()
    assert statuses == [True] * len(offers)
    assert kept == {each.receipt_cid for each in offers}


def test_attack_67_an_unsigned_upload_is_not_stored(settings: RegistrySettings, offer: Offer) -> None:
    with TestClient(create_app(settings)) as http:
        answer = http.post("/v1/artifacts", files=offer.parts())
    assert (answer.status_code, slug(answer)) == (422, "verification_failed")
    assert json.loads(answer.content)["check"].startswith("E_")
    assert blobs_of(settings) == []

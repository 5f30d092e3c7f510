"""What the registry answers, address by address (specs/formats/registry-api.md)."""

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from kolm.cid import cid_of
from registry.settings import RegistrySettings
from tests.registry.asking import SOMEBODY, blobs_of, plain_get
from tests.registry.offers import Offer, make_offer, slug

IMMUTABLE = "public, max-age=31536000, immutable"


def test_what_was_uploaded_comes_back_by_cid(http: TestClient, offer: Offer):
    answer = http.post("/v1/artifacts", files=offer.parts(cid=offer.cid))
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/artifacts/{offer.cid}"
    assert answer.json() == {
        "cid": offer.cid,
        "receipt": offer.receipt_cid,
        "created": True,
        "verdict": "PASS",
        "k": 0.9,
        "log": {"index": 0, "size": 1},
    }
    modules = offer.modules
    receipt = offer.receipt.read_bytes()
    expected = {
        f"/v1/artifacts/{offer.cid}": offer.artifact.read_bytes(),
        f"/v1/artifacts/{offer.cid}/receipt": receipt,
        f"/v1/artifacts/{offer.cid}/modules": modules,
        f"/v1/receipts/{offer.receipt_cid}": receipt,
        f"/v1/modules/{cid_of(modules)}": modules,
        f"/v1/blobs/{offer.cid}": offer.artifact.read_bytes(),
        f"/v1/blobs/{cid_of(modules)}": modules,
    }
    for address, data in expected.items():
        answer = http.get(address)
        assert answer.content == data, address
        assert answer.headers["etag"] == f'"{cid_of(data)}"'
        lasting = "no-cache" if address.endswith("/receipt") else IMMUTABLE
        assert answer.headers["cache-control"] == lasting
        head = http.head(address)
        assert head.content == b""
        assert int(head.headers["content-length"]) == len(data)
        assert http.get(address, headers={"If-None-Match": f'"{cid_of(data)}"'}).status_code == 304


def test_the_kscore_is_the_receipts(http: TestClient, offer: Offer):
    http.post("/v1/artifacts", files=offer.parts())
    said = json.loads(offer.receipt.read_bytes())["envelopes"][0]["said"]["k_score"]
    answer = http.get(f"/v1/artifacts/{offer.cid}/kscore")
    assert answer.json() == said
    tag = f'"{cid_of(answer.content)}"'
    assert answer.headers["etag"] == tag
    assert http.get(f"/v1/artifacts/{offer.cid}/kscore", headers={"If-None-Match": tag}).status_code == 304


def test_the_same_upload_again_is_known(http: TestClient, offer: Offer):
    assert http.post("/v1/artifacts", files=offer.parts()).status_code == 201
    again = http.post("/v1/artifacts", files=offer.parts())
    assert again.status_code == 200
    assert again.json()["created"] is False


def test_a_second_receipt_is_kept_beside_the_first(http: TestClient, offer: Offer, tmp_path: Path):
    later = make_offer(tmp_path / "later", k=0.95, finished="2026-02-01T12:00:00Z")
    assert later.cid == offer.cid
    http.post("/v1/artifacts", files=offer.parts())
    assert http.post("/v1/artifacts", files=later.parts()).status_code == 201
    receipts = http.get(f"/v1/artifacts/{offer.cid}/receipts").json()["items"]
    assert [item["cid"] for item in receipts] == [later.receipt_cid, offer.receipt_cid]
    assert http.get(f"/v1/artifacts/{offer.cid}/receipt").content == later.receipt.read_bytes()
    items = http.get("/v1/artifacts").json()["items"]
    assert [(item["k"], item["created"]) for item in items] == [(0.95, "2026-02-01T12:00:00Z")]


def test_a_false_claim_is_a_cid_mismatch(http: TestClient, offer: Offer, settings: RegistrySettings):
    answer = http.post("/v1/artifacts", files=offer.parts(cid=SOMEBODY))
    assert (answer.status_code, slug(answer)) == (422, "cid_mismatch")
    assert (answer.json()["claimed"], answer.json()["computed"]) == (SOMEBODY, offer.cid)
    assert blobs_of(settings) == []


def test_a_bundle_that_fails_verification_is_not_stored(
    http: TestClient, offer: Offer, settings: RegistrySettings, tmp_path: Path
):
    other = make_offer(tmp_path / "other", name="charts")
    parts = offer.parts() | {"receipt": other.parts()["receipt"]}
    answer = http.post("/v1/artifacts", files=parts)
    assert (answer.status_code, slug(answer)) == (422, "verification_failed")
    assert answer.json()["check"] == "E_SUBJECT_MISMATCH"
    assert answer.json()["report"]["checks"][0]["number"] == 1
    assert blobs_of(settings) == []
    assert http.get("/v1/artifacts").json() == {"items": [], "next": None}
    assert http.get(f"/v1/artifacts/{offer.cid}").status_code == 404


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE"])
def test_a_receipt_that_did_not_pass_needs_allow_failed(http: TestClient, tmp_path: Path, verdict: str):
    failed = make_offer(tmp_path / "failed", verdict=verdict, k=None)
    answer = http.post("/v1/artifacts", files=failed.parts())
    assert (answer.status_code, slug(answer)) == (422, "gate_not_passed")
    assert answer.json()["verdict"] == verdict
    assert http.post("/v1/artifacts", files=failed.parts(allow_failed="true")).status_code == 201
    (item,) = http.get("/v1/artifacts").json()["items"]
    assert (item["verdict"], item["k"]) == (verdict, None)
    assert http.get("/v1/artifacts", params={"min_k": 0}).json()["items"] == []


def test_one_byte_range_is_served(http: TestClient, offer: Offer):
    http.post("/v1/artifacts", files=offer.parts())
    data, address = offer.artifact.read_bytes(), f"/v1/artifacts/{offer.cid}"
    for wanted, expected in {
        "bytes=0-9": data[:10],
        "bytes=10-": data[10:],
        "bytes=-7": data[-7:],
        f"bytes=5-{len(data) * 2}": data[5:],
    }.items():
        answer = http.get(address, headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (206, expected), wanted
    for ignored in ("bytes=0-1,4-5", "bytes=9-3", "lines=1-2", "bytes=-", "nonsense"):
        answer = http.get(address, headers={"Range": ignored})
        assert (answer.status_code, answer.content) == (200, data), ignored
    stale = http.get(address, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (stale.status_code, stale.content) == (200, data)


@pytest.mark.parametrize("wanted", ["bytes=1000000-", "bytes=-0"])
def test_a_range_outside_the_bytes_is_not_satisfiable(http: TestClient, offer: Offer, wanted: str):
    http.post("/v1/artifacts", files=offer.parts())
    answer = http.get(f"/v1/artifacts/{offer.cid}", headers={"Range": wanted})
    assert (answer.status_code, slug(answer)) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{offer.artifact.stat().st_size}"


BY_CID = [f"artifacts/{{}}{part}" for part in ("", "/receipt", "/receipts", "/modules", "/kscore")]
BY_CID += ["receipts/{}", "modules/{}", "blobs/{}"]


@pytest.mark.parametrize("path", BY_CID)
def test_unknown_and_impossible_cids(http: TestClient, path: str):
    answer = http.get("/v1/" + path.format(SOMEBODY))
    assert (answer.status_code, slug(answer)) == (404, "not_found")
    assert answer.json()["cid"] == SOMEBODY
    for text, check in {
        "nonsense": "E_CID_SYNTAX",
        SOMEBODY.upper(): "E_CID_SYNTAX",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi": "E_CID_PROFILE",
    }.items():
        answer = http.get("/v1/" + path.format(text))
        assert (answer.status_code, slug(answer), answer.json()["check"]) == (400, "bad_cid", check), text


@pytest.mark.parametrize(
    "text",
    ["b" * 100_000, "a" * 100_000, "\N{COLLISION SYMBOL}" * 25_000, "bafkrei" + "a" * 99_993],
    ids=["b only", "a only", "emoji", "CID prefix"],
)
def test_a_hostile_cid_is_refused_quickly(application: FastAPI, text: str):
    began = time.perf_counter()
    status, body = asyncio.run(plain_get(application, f"/v1/artifacts/{text}"))
    assert time.perf_counter() - began < 0.5
    assert status == 400
    assert json.loads(body)["type"] == "urn:kolm:problem:bad_cid"
    assert len(body) < 1000


def test_an_object_is_not_another_kind_of_object(http: TestClient, offer: Offer):
    http.post("/v1/artifacts", files=offer.parts())
    for wrong in (
        f"/v1/artifacts/{offer.receipt_cid}",
        f"/v1/receipts/{offer.cid}",
        f"/v1/modules/{offer.cid}",
    ):
        assert http.get(wrong).status_code == 404


def test_errors_of_the_framework_are_problems_too(http: TestClient):
    cases = {
        ("GET", "/nowhere"): (404, "not_found"),
        ("DELETE", "/v1/artifacts"): (405, "method_not_allowed"),
        ("GET", "/v1/artifacts?limit=0"): (422, "invalid_request"),
        ("GET", "/v1/artifacts?min_k=nan"): (422, "invalid_request"),
        ("GET", "/v1/artifacts?bse=x"): (422, "invalid_request"),
        ("GET", "/v1/artifacts?frozen="): (422, "invalid_request"),
        ("GET", "/v1/artifacts?cursor=x"): (400, "bad_cursor"),
        ("GET", "/v1/artifacts?cursor=99999999999999999999"): (400, "bad_cursor"),
    }
    for (method, path), expected in cases.items():
        answer = http.request(method, path)
        assert (answer.status_code, slug(answer)) == expected, path
    assert "GET" in http.request("DELETE", "/v1/artifacts").headers["allow"]


def test_equal_uploads_at_once_are_new_exactly_once(
    http: TestClient, offer: Offer, settings: RegistrySettings
):
    start, statuses = threading.Barrier(8), []

    def upload():
        start.wait()
        statuses.append(http.post("/v1/artifacts", files=offer.parts()).status_code)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 7 + [201]
    assert len(blobs_of(settings)) == 3
    assert list(settings.incoming.iterdir()) == []


def test_stored_blobs_are_read_only_and_named_by_their_digest(
    http: TestClient, offer: Offer, settings: RegistrySettings
):
    http.post("/v1/artifacts", files=offer.parts())
    for path in blobs_of(settings):
        assert path.stat().st_mode & 0o777 == 0o444
        assert path.parent.name == path.name[:2]


def test_a_damaged_blob_is_healed_by_the_next_upload(
    http: TestClient, offer: Offer, settings: RegistrySettings
):
    http.post("/v1/artifacts", files=offer.parts())
    (path,) = (path for path in blobs_of(settings) if path.read_bytes() == offer.artifact.read_bytes())
    path.chmod(0o644)
    path.write_bytes(b"rot")
    assert http.post("/v1/artifacts", files=offer.parts()).status_code == 200
    assert http.get(f"/v1/artifacts/{offer.cid}").content == offer.artifact.read_bytes()


def test_bytes_that_are_gone_are_said_to_be_gone(http: TestClient, offer: Offer, settings: RegistrySettings):
    http.post("/v1/artifacts", files=offer.parts())
    for path in blobs_of(settings):
        path.unlink()
    answer = http.get(f"/v1/artifacts/{offer.cid}")
    assert (answer.status_code, slug(answer)) == (500, "internal")


def test_health(http: TestClient, settings: RegistrySettings):
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ok"}


def test_a_registry_without_its_blobs_is_not_ready(http: TestClient, settings: RegistrySettings):
    store = settings.data / "blobs" / "sha256"
    for left in store.iterdir():
        left.unlink()
    store.rmdir()
    answer = http.get("/readyz")
    assert (answer.status_code, slug(answer)) == (503, "not_ready")


def test_openapi_describes_every_address_and_every_problem(http: TestClient):
    document = http.get("/openapi.json").json()
    assert {"/v1/artifacts", "/v1/artifacts/{cid}", "/v1/blobs/{cid}", "/healthz"} <= set(document["paths"])
    form = document["paths"]["/v1/artifacts"]["post"]["requestBody"]["content"]["multipart/form-data"][
        "schema"
    ]
    assert form["required"] == ["artifact", "receipt"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            problems = operation["responses"]["422"]["content"]
            assert list(problems) == ["application/problem+json"], path


def test_an_unreadable_trust_directory_makes_the_registry_unready(
    http: TestClient, offer: Offer, settings: RegistrySettings
):
    (settings.trust / "policy.yaml").write_text("require_pass: [")
    for answer in (http.get("/readyz"), http.post("/v1/artifacts", files=offer.parts())):
        assert (answer.status_code, slug(answer)) == (503, "not_ready")
        assert str(settings.trust) not in answer.text

"""What a failure in the middle of taking in an artifact leaves behind."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kolm.cid import CID, cid_of
from kolm.errors import StorageError
from registry.app import create_app
from registry.blobs import LocalBlobs
from registry.problems import SLUGS
from registry.settings import RegistrySettings
from tests.registry.offers import Offer, TakesItsWord

PAGE = Path(__file__).parents[2] / "specs" / "formats" / "registry-api.md"


class FullDisk(LocalBlobs):
    """Blobs on a disk that has room for this many more."""

    def __init__(self, root: Path, *, room: int) -> None:
        super().__init__(root)
        self.room = room

    def put(self, source: Path, *, cid: CID) -> None:
        if self.room == 0:
            raise StorageError("cannot write blob: the disk is full", hint="free some space")
        self.room -= 1
        super().put(source, cid=cid)


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_disk_that_fills_up_keeps_nothing_that_is_served(
    settings: RegistrySettings, offer: Offer, room: int
):
    blobs = FullDisk(settings.data / "blobs", room=room)
    with TestClient(create_app(settings, blobs=blobs, verifier=TakesItsWord())) as http:
        answer = http.post("/v1/artifacts", files=offer.parts())
        assert answer.status_code == 507
        assert answer.json()["type"] == "urn:kolm:problem:insufficient_storage"
        for cid in (offer.cid, offer.receipt_cid):
            assert http.get(f"/v1/blobs/{cid}").status_code == 404
        assert http.get("/v1/artifacts").json()["items"] == []
        assert list(settings.incoming.iterdir()) == []
        blobs.room = 3
        assert http.post("/v1/artifacts", files=offer.parts()).status_code == 201


def test_a_blob_that_no_transaction_named_is_not_served(
    http: TestClient, settings: RegistrySettings, tmp_path: Path
):
    left = tmp_path / "left"
    left.write_bytes(b"left by a crash")
    cid = cid_of(b"left by a crash")
    LocalBlobs(settings.data / "blobs").put(left, cid=cid)
    assert http.get(f"/v1/blobs/{cid}").status_code == 404


def test_a_verifier_that_breaks_is_an_internal_problem_without_details(
    settings: RegistrySettings, offer: Offer
):
    def breaks(*_: object, **__: object):
        raise RuntimeError("secret detail")

    app = create_app(settings, verifier=breaks)
    with TestClient(app, raise_server_exceptions=False) as http:
        answer = http.post("/v1/artifacts", files=offer.parts())
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:kolm:problem:internal"
    assert "secret" not in answer.text


def test_the_page_lists_exactly_the_problems_that_are_sent():
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {slug: int(status) for slug, status in rows} == {
        slug: status for slug, (status, _) in SLUGS.items()
    }

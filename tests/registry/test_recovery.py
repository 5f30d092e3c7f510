"""Index and log after one of them failed: nothing is logged twice, and neither goes on without the other."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event

from kolm.errors import StorageError
from registry.app import create_app
from registry.journal import Journal
from registry.log import Log
from registry.models import open_engine
from registry.settings import RegistrySettings
from tests.registry.offers import Offer, TakesItsWord, make_offer, slug


def test_a_log_or_an_index_without_its_own_other_half_is_refused(
    settings: RegistrySettings, application: FastAPI, offer: Offer, tmp_path: Path
):
    with TestClient(application) as http:
        http.post("/v1/artifacts", files=offer.parts())
    other = RegistrySettings(data=tmp_path / "other", trust=settings.trust)
    with TestClient(create_app(other, verifier=TakesItsWord())) as http:
        http.post("/v1/artifacts", files=make_offer(tmp_path / "more", name="more").parts())
    tree = settings.data / "tlog"
    for log in (None, other.data / "tlog"):
        shutil.rmtree(tree)
        if log is not None:
            shutil.copytree(log, tree)
            shutil.copy(other.data / "log.pem", settings.data / "log.pem")
        with pytest.raises(StorageError, match="the index knows 1 entries of a log that holds"):
            create_app(settings)


def test_an_index_that_cannot_be_written_is_507_and_the_receipt_is_logged_once(
    settings: RegistrySettings, tmp_path: Path
):
    settings.data.mkdir()
    many = make_offer(tmp_path / "many", frozen=tuple(f"visual.block{at}.weight" for at in range(2000)))
    engine = open_engine(settings.data / "index.sqlite3")
    full = create_app(settings, engine=engine, verifier=TakesItsWord())
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
    engine.dispose()
    with TestClient(full) as http:
        assert slug(http.post("/v1/artifacts", files=many.parts())) == "insufficient_storage"
        assert slug(http.get(f"/v1/artifacts/{many.cid}")) == "not_found"
    with TestClient(create_app(settings, verifier=TakesItsWord())) as http:
        assert http.post("/v1/artifacts", files=many.parts()).json()["log"] == {"index": 0, "size": 1}


class _Forgetful:
    """Places in memory that cannot be written the first time."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.refusals = 1

    def place_of(self, digest: str) -> int | None:
        return self.kept.get(digest)

    def note_places(self, rows: Iterator[tuple[str, int]]) -> None:
        found = dict(rows)
        if found and self.refusals:
            self.refusals -= 1
            raise StorageError("the index cannot be written", hint="")
        self.kept |= found

    def noted(self) -> int:
        return len(self.kept)


def test_who_tries_again_after_a_place_was_not_noted_gets_the_same_one(tmp_path: Path):
    log = Log(tmp_path, _Forgetful())
    with pytest.raises(StorageError):
        log.add(b"one")
    assert [log.add(b"one"), log.add(b"two"), log.add(b"one")] == [0, 1, 0]
    assert log.size == 2
    log.close()


def test_who_tries_again_after_a_disk_that_refused_gets_the_same_place(
    application: FastAPI, http: TestClient, settings: RegistrySettings, offer: Offer
):
    log = application.state.service.log
    (settings.data / "tlog" / "draft").unlink(missing_ok=True)
    (settings.data / "tlog" / "draft").mkdir()  # the journal can be written, tiles cannot
    for _ in range(2):
        assert slug(http.post("/v1/artifacts", files=offer.parts())) == "insufficient_storage"
        assert log.size == 0
    (settings.data / "tlog" / "draft").rmdir()
    assert http.post("/v1/artifacts", files=offer.parts()).json()["log"] == {"index": 0, "size": 1}


def test_a_log_that_could_not_write_is_not_ready_until_it_can(
    application: FastAPI, http: TestClient, settings: RegistrySettings, offer: Offer
):
    draft = settings.data / "tlog" / "draft"
    draft.unlink(missing_ok=True)
    draft.mkdir()
    assert http.get("/readyz").status_code == 200
    assert slug(http.post("/v1/artifacts", files=offer.parts())) == "insufficient_storage"
    assert slug(http.get("/readyz")) == "not_ready"
    draft.rmdir()
    assert http.post("/v1/artifacts", files=offer.parts()).status_code == 201
    assert http.get("/readyz").status_code == 200


@pytest.mark.parametrize("left", [None, b""])
def test_no_checkpoint_is_no_empty_answer(http: TestClient, settings: RegistrySettings, left: bytes | None):
    assert http.get("/tlog/checkpoint").status_code == 200
    path = settings.data / "tlog" / "checkpoint"
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    answer = http.get("/tlog/checkpoint")
    assert (answer.status_code, slug(answer)) == (503, "not_ready")


def test_an_index_made_again_from_a_damaged_log_is_refused_in_words(
    settings: RegistrySettings, application: FastAPI
):
    with TestClient(application):
        for at in range(256):
            application.state.service.log.add(b"%d" % at)
    (settings.data / "index.sqlite3").unlink()
    with closing(Journal(settings.data / "tlog" / "journal")) as journal:
        journal.read()
        journal.restart(256)
    (settings.data / "tlog" / "tile" / "entries" / "000").write_bytes(b"damaged")
    with pytest.raises(StorageError, match="the log has lost entries: tile/entries/000: "):
        create_app(settings)


def test_a_full_disk_and_a_log_that_ended_are_not_ready(application: FastAPI, http: TestClient):
    assert http.get("/readyz").status_code == 200
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # files may be made, and nothing written into them
    try:
        assert slug(http.get("/readyz")) == "not_ready"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert http.get("/readyz").status_code == 200
    application.state.service.log.close()
    assert slug(http.get("/readyz")) == "not_ready"

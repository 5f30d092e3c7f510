"""Revocations over HTTP: who may revoke what, and what the registry does about it at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from kolm.cid import CID, digest_of, sha256_hex
from kolm.keys import PrivateKey
from kolm.revocation import sign_revocation
from kolm.tlog.tiles import read_entries
from kolm.trust import TrustStore, trust_key, trust_log
from registry.app import create_app
from registry.settings import RegistrySettings
from tests.bundles import make_bundle
from tests.logs import Log
from tests.registry.offers import slug


def test_a_key_revokes_itself_and_the_log_says_so(
    application: FastAPI, http: TestClient, settings: RegistrySettings
):
    key = PrivateKey.generate()
    envelope = sign_revocation(key, "lost")
    assert slug(http.post("/v1/revocations", content=envelope)) == "revocation_refused"
    assert slug(http.post("/v1/revocations", content=b"{}")) == "revocation_refused"
    assert slug(http.post("/v1/revocations", content=bytes(20_000))) == "too_large"
    assert application.state.service.log.size == 0
    trust_key(settings.trust, key.public)
    trust_log(settings.trust, Log().note_key.vkey)  # another log than this registry's
    answer = http.post("/v1/revocations", content=envelope)
    assert answer.status_code == 201, answer.text
    assert answer.json()["log"] == {"index": 0, "size": 1}
    assert http.post("/v1/revocations", content=envelope).json()["log"] == {"index": 0, "size": 1}
    assert http.get(f"/v1/blobs/{answer.json()['envelope']}").content == envelope
    log = application.state.service.log
    (entry,) = read_entries(log.read, 0, 1, size=1)
    said = json.loads(entry)
    assert (said["revokes"], said["statement"]) == ({"keyid": key.key_id}, answer.json()["statement"])
    assert said["statement"] == sha256_hex(envelope)
    assert digest_of(CID(answer.json()["envelope"])).hex() == said["statement"]
    revoked = TrustStore.open(settings.trust).revoked(key.key_id)
    assert revoked is not None
    assert (revoked.reason, revoked.index, revoked.log) == ("lost", 0, log.key)


def test_revocations_at_once_are_all_gone_by(
    application: FastAPI, http: TestClient, settings: RegistrySettings
):
    keys = [PrivateKey.generate() for _ in range(24)]
    for key in keys:
        trust_key(settings.trust, key.public)
    with ThreadPoolExecutor(8) as pool:
        said = pool.map(lambda key: http.post("/v1/revocations", content=sign_revocation(key, "lost")), keys)
        places = {key.key_id: answer.json()["log"]["index"] for key, answer in zip(keys, said, strict=True)}
    trust = TrustStore.open(settings.trust)
    assert {keyid: row.index for keyid, row in trust.revocations.items()} == places
    assert sorted(places.values()) == list(range(24))


def test_what_its_owner_gave_up_does_not_count_while_the_log_cannot_say_so(
    http: TestClient, settings: RegistrySettings
):
    key = PrivateKey.generate()
    trust_key(settings.trust, key.public)
    envelope = sign_revocation(key, "lost")
    (settings.data / "tlog" / "draft").unlink(missing_ok=True)
    (settings.data / "tlog" / "draft").mkdir()
    assert slug(http.post("/v1/revocations", content=envelope)) == "insufficient_storage"
    assert TrustStore.open(settings.trust).revocations[key.key_id].index is None
    (settings.data / "tlog" / "draft").rmdir()
    assert http.post("/v1/revocations", content=envelope).json()["log"] == {"index": 0, "size": 1}
    assert TrustStore.open(settings.trust).revocations[key.key_id].index == 0


def test_a_signer_that_is_not_trusted_any_more_does_not_stand_in_the_way_of_another(
    settings: RegistrySettings, tmp_path: Path
):
    gone, here, stranger = (PrivateKey.generate() for _ in range(3))
    bundles = [make_bundle(tmp_path / str(at), rows=2, key=key) for at, key in enumerate((here, gone))]
    assert bundles[0].cid == bundles[1].cid
    with TestClient(create_app(settings)) as http:
        for bundle in bundles:
            path = trust_key(settings.trust, bundle.key.public)
            parts = {"artifact": bundle.artifact_path.read_bytes(), "receipt": bundle.receipt}
            answer = http.post("/v1/artifacts", files=parts, data={"allow_failed": "true"})
            assert answer.status_code == 201, answer.text
        path.unlink()
        trust_key(settings.trust, stranger.public)
        for key in (gone, stranger):
            envy = sign_revocation(key, "envy", artifact=bundle.cid)
            assert slug(http.post("/v1/revocations", content=envy)) == "revocation_refused"
        wrong = sign_revocation(here, "wrong labels", artifact=bundle.cid)
        assert http.post("/v1/revocations", content=wrong).json()["log"]["index"] == 2
        assert TrustStore.open(settings.trust).revoked(bundle.cid) is not None
        refused = http.post("/v1/artifacts", files=parts, data={"allow_failed": "true"})
        assert refused.json()["check"] == "E_KEY_UNTRUSTED"
        parts["receipt"] = bundles[0].receipt
        refused = http.post("/v1/artifacts", files=parts, data={"allow_failed": "true"})
        assert refused.json()["check"] == "E_REVOKED"


def test_a_reason_of_nothing_but_space_is_refused_before_anything_is_logged(
    application: FastAPI, http: TestClient, settings: RegistrySettings
):
    key = PrivateKey.generate()
    trust_key(settings.trust, key.public)
    assert slug(http.post("/v1/revocations", content=sign_revocation(key, " \n"))) == "revocation_refused"
    assert application.state.service.log.size == 0

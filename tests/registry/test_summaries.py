"""Summaries as others check them: with the key that the operator names, and never of what was revoked."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from fastapi.testclient import TestClient
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from kolm.keys import PrivateKey, PublicKey, load_private
from kolm.revocation import sign_revocation
from kolm.trust import revoke, trust_key, trust_log
from registry.app import create_app
from registry.settings import RegistrySettings
from tests.bundles import Bundle, make_bundle
from tests.logs import Log
from tests.registry.asking import blobs_of
from tests.registry.offers import Offer, make_offer, slug

PAGE = Path(__file__).parents[2] / "specs" / "formats" / "registry-api.md"
SNIPPET = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
NAMES = {
    "Encoding": Encoding,
    "Envelope": Envelope,
    "PublicFormat": PublicFormat,
    "SSlibKey": SSlibKey,
    "hashlib": hashlib,
    "json": json,
    "load_pem_public_key": load_pem_public_key,
}


def checked(artifact: Path, summary: bytes, keys: dict[str, str], *, key_id: str) -> dict[str, Any]:
    """What a summary says, after the lines of the page had no objection."""
    (lines,) = SNIPPET
    names = NAMES | {"artifact": artifact.read_bytes(), "summary": summary, "keys": keys, "key_id": key_id}
    exec(lines, names)  # noqa: S102 - the lines of our own page
    said: dict[str, Any] = names["said"]
    return said


def said(summary: bytes) -> dict[str, Any]:
    predicate: dict[str, Any] = json.loads(Envelope.from_dict(json.loads(summary)).payload)["predicate"]
    return predicate


def test_the_lines_of_the_page_check_a_summary(
    http: TestClient, settings: RegistrySettings, offer: Offer, tmp_path: Path
):
    http.post("/v1/artifacts", files=offer.parts())
    address = f"/v1/artifacts/{offer.cid}/summary"
    summary, keys = http.get(address).content, http.get("/v1/keys").json()
    own = load_private(settings.data / "registry.pem", passphrase=lambda: None).key_id
    predicate = checked(offer.artifact, summary, keys, key_id=own)["predicate"]
    assert predicate["verifier"]["id"] == f"urn:kolm:registry:{own}"
    assert keys["summary_id"] == own == PublicKey.from_pem(keys["summary"]).key_id
    assert keys["log"].startswith("kolm-registry/")
    other = make_offer(tmp_path / "other", name="other")
    stranger = PrivateKey.generate().public
    with pytest.raises(AssertionError, match="about another artifact"):
        checked(other.artifact, summary, keys, key_id=own)
    with pytest.raises(AssertionError, match="another key"):
        checked(offer.artifact, summary, keys | {"summary": stranger.pem()}, key_id=own)
    for bent in (
        summary.replace(b'"sig":"', b'"sig":"AAAA'),
        summary.replace(b'"payload":"', b'"payload":"IA'),
    ):
        with pytest.raises((VerificationError, ValueError)):
            checked(offer.artifact, bent, keys, key_id=own)


def test_each_receipt_has_its_summary_by_a_key_that_signs_nothing_else(
    http: TestClient, settings: RegistrySettings, offer: Offer, tmp_path: Path
):
    http.post("/v1/artifacts", files=offer.parts())
    address = f"/v1/artifacts/{offer.cid}/summary"
    first = http.get(address)
    tag = {"If-None-Match": first.headers["etag"]}
    assert http.get(address, headers=tag).status_code == 304
    assert slug(http.get(f"/v1/artifacts/{offer.receipt_cid}/summary")) == "not_found"
    http.post("/v1/artifacts", files=make_offer(tmp_path / "later", k=0.95).parts())
    assert http.get(address, params={"receipt": offer.receipt_cid}).content == first.content
    assert http.get(address, headers=tag).content != first.content
    assert slug(http.get(address, params={"receipt": offer.cid})) == "not_found"
    signing = [
        load_private(settings.data / name, passphrase=lambda: None) for name in ("registry.pem", "log.pem")
    ]
    assert signing[0].key_id != signing[1].key_id


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("made"), rows=2)


def upload(http: TestClient, bundle: Bundle) -> str:
    parts = {"artifact": bundle.artifact_path.read_bytes(), "receipt": bundle.receipt}
    answer = http.post("/v1/artifacts", files=parts, data={"allow_failed": "true"})
    assert answer.status_code == 201, answer.text
    return f"/v1/artifacts/{bundle.cid}/summary"


def test_what_was_revoked_has_failed(settings: RegistrySettings, made: Bundle):
    trust_key(settings.trust, made.key.public)
    with TestClient(create_app(settings)) as http:
        address = upload(http, made)
        passed, keys = http.get(address).content, http.get("/v1/keys").json()
        own = keys["summary_id"]
        checked(made.artifact_path, passed, keys, key_id=own)
        wrong = sign_revocation(made.key, "wrong labels", artifact=made.cid)
        assert http.post("/v1/revocations", content=wrong).status_code == 201
        failed = http.get(address).content
        assert http.get(address).content == failed
        with pytest.raises(AssertionError, match="revoked"):
            checked(made.artifact_path, failed, keys, key_id=own)
        assert {**said(failed), "timeVerified": ""} == {
            **said(passed),
            "timeVerified": "",
            "verificationResult": "FAILED",
            "verifiedLevels": ["FAILED"],
        }
        assert said(failed)["timeVerified"] >= said(passed)["timeVerified"]


def test_a_key_that_was_revoked_fails_what_the_log_held_no_earlier(settings: RegistrySettings, made: Bundle):
    """Its owner gave it up at an entry of this log, or the operator wrote down that it is lost."""
    trust_key(settings.trust, made.key.public)
    application = create_app(settings)
    own, elsewhere = application.state.service.log.key, Log().note_key
    with TestClient(application) as http:
        address = upload(http, made)
        lost = sign_revocation(made.key, "lost")
        assert http.post("/v1/revocations", content=lost).json()["log"]["index"] == 1
        assert said(http.get(address).content)["verificationResult"] == "PASSED"
        for log, index, result in (
            (None, None, "FAILED"),
            (elsewhere, 5, "FAILED"),
            (own, 0, "FAILED"),
            (own, 1, "PASSED"),
        ):
            (settings.trust / "revoked.json").unlink()
            revoke(settings.trust, made.key.key_id, "lost", index=index, log=log)
            assert said(http.get(address).content)["verificationResult"] == result, (log, index)


def test_nothing_is_said_of_a_receipt_whose_signers_are_not_known(settings: RegistrySettings, made: Bundle):
    trust_key(settings.trust, made.key.public)
    with TestClient(create_app(settings)) as http:
        address = upload(http, made)
        (path,) = (path for path in blobs_of(settings) if path.read_bytes() == made.receipt)
        path.unlink()
        assert slug(http.get(address)) == "internal"


def test_a_registry_that_wants_proofs_takes_what_it_is_to_log(settings: RegistrySettings, made: Bundle):
    trust_key(settings.trust, made.key.public)
    (settings.trust / "policy.yaml").write_text("require_log: true\nlog_max_age_days: 1\n")
    with TestClient(create_app(settings)) as http:
        upload(http, made)
    (settings.trust / "policy.yaml").unlink()
    trust_log(settings.trust, Log().note_key.vkey)  # which by itself asks for proofs
    other = RegistrySettings(data=settings.data / "other", trust=settings.trust)
    with TestClient(create_app(other)) as http:
        upload(http, made)

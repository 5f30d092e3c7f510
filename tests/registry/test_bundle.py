"""A real signed bundle through a real server and the real verifier, and bundles that lie."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kolm.errors import RegistryError
from kolm.keys import PrivateKey
from kolm.trust import TrustStore, revoke, trust_key
from kolm.verify import CHECKS, verify_bundle
from registry.app import create_app
from registry.client import RegistryClient
from registry.settings import RegistrySettings
from tests.bundles import Bundle, make_bundle
from tests.registry.conftest import serving

AFTER = ["skipped"] * len(CHECKS[5:])
"""What becomes of the checks after the fifth when it fails."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def client(settings: RegistrySettings, bundle: Bundle) -> Iterator[RegistryClient]:
    trust_key(settings.trust, bundle.key.public)
    with serving(create_app(settings)) as url, RegistryClient(url) as client:
        yield client


def kept(settings: RegistrySettings) -> list[Path]:
    return [path for path in (settings.data / "blobs").rglob("*") if len(path.name) == 64]


def test_a_bundle_comes_back_and_still_verifies(client: RegistryClient, bundle: Bundle, tmp_path: Path):
    stored = client.push(bundle.artifact_path, bundle.receipt_path)
    said = bundle.facts.k_score
    assert stored["cid"] == bundle.cid
    assert (stored["k"], stored["verdict"]) == (said["value"], said["gate"]["verdict"])
    paths = client.pull(bundle.cid, tmp_path / "out")
    assert paths.modules.read_bytes() == bundle.modules_path.read_bytes()
    report = verify_bundle(paths.artifact, paths.receipt.read_bytes(), bundle.trust, expected_cid=bundle.cid)
    assert report.ok


def test_it_is_found_by_what_was_frozen_and_trained(client: RegistryClient, bundle: Bundle):
    client.push(bundle.artifact_path, bundle.receipt_path)
    for filters in (
        {"frozen": "visual.merger", "trainable": "language_model.layers.*.self_attn.q_proj.lora_A"},
        {"base": bundle.facts.artifact.manifest.base.model},
        {"family": "qwen2_5_vl", "name": "digits", "min_k": 0.1},
    ):
        assert [item["cid"] for item in client.search(**filters)] == [bundle.cid], filters
    assert client.search(trainable="visual") == []


def test_one_changed_byte_is_refused_by_check_and_report(
    client: RegistryClient, bundle: Bundle, settings: RegistrySettings, tmp_path: Path
):
    data = bytearray(bundle.artifact_path.read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.kolm"
    changed.write_bytes(data)
    with pytest.raises(RegistryError, match="verification_failed: E_"):
        client.push(changed, bundle.receipt_path)
    assert kept(settings) == []


def test_a_stranger_is_refused_until_trusted_and_again_when_revoked(
    client: RegistryClient, bundle: Bundle, settings: RegistrySettings, tmp_path: Path
):
    stranger = make_bundle(tmp_path / "stranger", name="strange", key=PrivateKey.generate())
    with pytest.raises(RegistryError, match="verification_failed: E_KEY_UNTRUSTED"):
        client.push(stranger.artifact_path, stranger.receipt_path)
    assert kept(settings) == []
    trust_key(settings.trust, stranger.key.public)
    assert client.push(stranger.artifact_path, stranger.receipt_path)["created"] is True
    revoke(settings.trust, stranger.key.public.key_id, "lost")
    with pytest.raises(RegistryError, match="verification_failed: E_REVOKED"):
        client.push(stranger.artifact_path, stranger.receipt_path)


def test_after_the_first_failure_nothing_is_computed(bundle: Bundle):
    options = {"artifact": bundle.artifact_path, "receipt": bundle.receipt, "trust": TrustStore.of()}
    whole = verify_bundle(**options)
    short = verify_bundle(**options, stop_at_first=True)
    assert short.failure == whole.failure
    assert [check.status for check in short.checks] == ["passed"] * 4 + ["failed"] + AFTER
    assert {check.status for check in whole.checks[5:]} == {"passed", "skipped"}
    assert verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust, stop_at_first=True).ok


def test_a_stranger_is_told_the_first_failure_only(settings: RegistrySettings, bundle: Bundle):
    parts = {
        "artifact": ("a.kolm", bundle.artifact_path.read_bytes()),
        "receipt": ("r.json", bundle.receipt),
    }
    with TestClient(create_app(settings)) as http:
        answer = http.post("/v1/artifacts", files=parts)
    later = [check["status"] for check in answer.json()["report"]["checks"][5:]]
    assert answer.json()["check"] == "E_KEY_UNTRUSTED"
    assert later == AFTER


def test_a_raised_score_is_refused(
    client: RegistryClient, settings: RegistrySettings, bundle: Bundle, tmp_path: Path
):
    def boast(facts):
        facts["k_score"]["value"] = 0.999999

    liar = make_bundle(tmp_path / "liar", name="liar", key=bundle.key, claim=boast)
    with pytest.raises(RegistryError, match="verification_failed: E_KSCORE"):
        client.push(liar.artifact_path, liar.receipt_path)
    assert kept(settings) == []


def test_a_gate_that_did_not_pass_needs_saying_so(client: RegistryClient, bundle: Bundle, tmp_path: Path):
    unsure = make_bundle(tmp_path / "unsure", name="unsure", key=bundle.key, rows=20)
    with pytest.raises(RegistryError, match="gate_not_passed"):
        client.push(unsure.artifact_path, unsure.receipt_path)
    assert client.push(unsure.artifact_path, unsure.receipt_path, allow_failed=True)["verdict"] != "PASS"


def test_another_signature_over_the_same_artifact_is_kept_beside(
    client: RegistryClient, bundle: Bundle, settings: RegistrySettings, tmp_path: Path
):
    again = tmp_path / "again.receipt.json"
    second = PrivateKey.generate()
    trust_key(settings.trust, second.public)
    document = make_bundle(tmp_path / "again", key=second)
    assert document.cid == bundle.cid
    again.write_bytes(document.receipt)
    client.push(bundle.artifact_path, bundle.receipt_path)
    assert client.push(bundle.artifact_path, again)["created"] is True
    assert client.pull(bundle.cid, tmp_path / "out").receipt.read_bytes() == document.receipt
    assert json.loads(document.receipt)["artifact"] == bundle.cid

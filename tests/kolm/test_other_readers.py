"""Readers that others wrote agree: about signatures, statements, tensors, the archive and the CID."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse, ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from nacl.signing import VerifyKey
from safetensors import numpy
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from kolm.artifact import Artifact
from kolm.cid import cid_of, digest_of, parse_cid
from kolm.dsse import pae
from kolm.tensors import read_tensors
from tests.bundles import Bundle, make_bundle
from tests.conftest import program

ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("made"), rows=1)


def envelopes(made: Bundle) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(made.receipt)["envelopes"]
    return found


def test_securesystemslib_verifies_the_envelopes(made: Bundle) -> None:
    value = {"public": made.key.public.raw.hex()}
    key = SSlibKey(made.key.key_id, "ed25519", "ed25519", value)
    for document in envelopes(made):
        envelope = Envelope.from_dict(json.loads(json.dumps(document)))
        assert envelope.verify([key], 1)
        envelope.payload += b" "
        with pytest.raises(VerificationError):
            envelope.verify([key], 1)


def test_in_toto_attestation_parses_the_statements(made: Bundle) -> None:
    digest = digest_of(made.cid).hex()
    about = 0
    for document in envelopes(made):
        parsed = Parse(base64.b64decode(str(document["payload"])), statement_pb2.Statement())
        statement = Statement.copy_from_pb(parsed)
        statement.validate()
        about += any(subject.digest["sha256"] == digest for subject in statement.pb.subject)
    assert about == 4


def test_in_toto_attestation_reads_provenance_and_test_result(made: Bundle) -> None:
    built, tested = (json.loads(base64.b64decode(str(e["payload"]))) for e in envelopes(made)[6:])
    parsed = ParseDict(built["predicate"], Provenance())
    assert parsed.build_definition.build_type == built["predicate"]["buildDefinition"]["buildType"]
    assert (
        ParseDict(tested["predicate"], test_result_pb2.TestResult()).result == tested["predicate"]["result"]
    )


def test_safetensors_opens_the_adapter(made: Bundle, tmp_path: Path) -> None:
    data = Artifact.open(made.artifact_path).read(ADAPTER)
    theirs, ours = numpy.load(data), read_tensors(data)
    assert {name: list(found.shape) for name, found in theirs.items()} == {
        name: list(found.shape) for name, found in ours.items()
    }


def test_unzip_opens_the_artifact(made: Bundle, tmp_path: Path) -> None:
    unzip = program("unzip")
    subprocess.run([unzip, "-q", "-t", made.artifact_path], check=True)
    subprocess.run([unzip, "-q", made.artifact_path, "-d", tmp_path], check=True)
    artifact = Artifact.open(made.artifact_path)
    there = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert there == sorted(artifact.container.names)
    assert all((tmp_path / name).read_bytes() == artifact.read(name) for name in there)


def test_the_cid_is_what_sha256sum_says_in_other_letters(made: Bundle) -> None:
    done = subprocess.run(["sha256sum", made.artifact_path], check=True, capture_output=True, text=True)
    digest = bytes.fromhex(done.stdout.split()[0])
    letters = base64.b32encode(b"\x01\x55\x12\x20" + digest).decode().lower().rstrip("=")
    assert parse_cid(f"b{letters}") == made.cid == cid_of(made.artifact_path.read_bytes())


def test_libsodium_accepts_the_signatures(made: Bundle) -> None:
    key = VerifyKey(made.key.public.raw)
    for document in envelopes(made):
        payload = base64.b64decode(str(document["payload"]))
        signatures = document["signatures"]
        assert isinstance(signatures, list)
        signed = pae(str(document["payloadType"]), payload)
        assert key.verify(signed, base64.b64decode(signatures[0]["sig"])) == signed

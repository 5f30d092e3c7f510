"""The statements of a receipt: in-toto Statement v1 with closed predicates.

The format is specs/formats/receipt.md 2-4. A statement is parsed from exactly the bytes that were
signed, and those bytes must be canonical, so one statement has one spelling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import Field, JsonValue

from kolm.canonical import parse_canonical
from kolm.cid import sha256_hex
from kolm.errors import VerificationError
from kolm.predicates import CompilePredicate
from kolm.schema import Closed, Count, Hex, RunId, Timestamp, read_model

STATEMENT = "https://in-toto.io/Statement/v1"
COMPILE = "urn:kolm:compile:v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
STAGES = ("spec", "data", "train", "eval", "package")
"""The stages of a compile, in order."""
STAGE_TYPES = tuple(f"urn:kolm:stage:{stage}:v1" for stage in STAGES)
ORDER = (*STAGE_TYPES, COMPILE, PROVENANCE, TEST_RESULT)
"""The statements of a receipt: each once, in this order."""

BUILD_TYPE = "urn:kolm:buildtype:vlm-compile:v1"
BUILDER = "urn:kolm:builder:local:v1"
"""A compile on the publisher's own machine: SLSA Build level 1, whoever signs it."""


class Digest(Closed):
    """A digest set with exactly one, strong, member."""

    sha256: Hex


class Resource(Closed):
    """An in-toto resource that a digest pins."""

    name: str
    digest: Digest


class Subject(Resource):
    """What a statement is about."""


class Consumed(Closed):
    """One input of a stage."""

    name: str
    sha256: Hex
    origin: Literal["external", "spec", "data", "train", "eval", "package"] = Field(alias="from")


class StagePredicate(Closed):
    """`urn:kolm:stage:<stage>:v1`: what a stage read; its subjects are what it made."""

    run: RunId
    stage: Literal["spec", "data", "train", "eval", "package"]
    previous: Hex | None
    """SHA-256 of the payload of the stage before; null for the first."""
    consumes: list[Consumed]


class SpecParameter(Closed):
    """SLSA external parameters: the spec is all that decides a build from outside."""

    spec: Resource


class InternalParameters(Closed):
    """SLSA internal parameters: what the builder resolved."""

    lock: Resource
    seed: Count


class BuildDefinition(Closed):
    """SLSA v1 build definition."""

    build_type: Literal["urn:kolm:buildtype:vlm-compile:v1"] = Field(alias="buildType")
    external_parameters: SpecParameter = Field(alias="externalParameters")
    internal_parameters: InternalParameters = Field(alias="internalParameters")
    resolved_dependencies: list[Resource] = Field(alias="resolvedDependencies")


class Builder(Closed):
    """SLSA builder identity."""

    id: Literal["urn:kolm:builder:local:v1"]
    version: dict[str, str]


class BuildMetadata(Closed):
    """SLSA build metadata."""

    invocation_id: RunId = Field(alias="invocationId")
    started_on: Timestamp = Field(alias="startedOn")
    finished_on: Timestamp = Field(alias="finishedOn")


class RunDetails(Closed):
    """SLSA v1 run details."""

    builder: Builder
    metadata: BuildMetadata


class ProvenancePredicate(Closed):
    """SLSA provenance v1."""

    build_definition: BuildDefinition = Field(alias="buildDefinition")
    run_details: RunDetails = Field(alias="runDetails")


class TestConfiguration(Closed):
    """A thing the gate was run with: a file by digest, or the run by URI."""

    __test__ = False  # pytest: not a test case

    name: str
    digest: Digest | None = None
    uri: str | None = None


class TestResultPredicate(Closed):
    """in-toto test-result v0.1: the gate."""

    __test__ = False  # pytest: not a test case

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: list[TestConfiguration]
    passed: list[str] = Field(alias="passedTests")
    warned: list[str] = Field(alias="warnedTests")
    failed: list[str] = Field(alias="failedTests")


Predicate = StagePredicate | CompilePredicate | ProvenancePredicate | TestResultPredicate

_MODELS: dict[str, type[Predicate]] = {
    **dict.fromkeys(STAGE_TYPES, StagePredicate),
    COMPILE: CompilePredicate,
    PROVENANCE: ProvenancePredicate,
    TEST_RESULT: TestResultPredicate,
}

P = TypeVar("P", bound=Predicate)


class _Envelope(Closed):
    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject]
    predicate_type: str = Field(alias="predicateType")
    predicate: dict[str, JsonValue]


@dataclass(frozen=True)
class Statement:
    """One parsed statement and the digest of the bytes it was parsed from."""

    predicate_type: str
    subjects: tuple[Subject, ...]
    predicate: Predicate
    payload_sha256: str

    def as_(self, model: type[P]) -> P:
        """Return the predicate as `model`. Raises VerificationError (E_STATEMENT_TYPE)."""
        if not isinstance(self.predicate, model):
            raise VerificationError(
                f"{self.predicate_type} is not what is wanted here", check="E_STATEMENT_TYPE"
            )
        return self.predicate


def parse_statement(payload: bytes) -> Statement:
    """Read one signed payload.

    Raises ArtifactError (E_JSON_CANONICAL, E_SCHEMA) or VerificationError (E_STATEMENT_TYPE,
    E_DIGEST_ALG, E_SUBJECT_AMBIGUOUS).
    """
    value = parse_canonical(payload, what="statement")
    _check_type(value)
    for subject in _mappings(value.get("subject")):
        _check_digest(subject)
    envelope = read_model(_Envelope, value, what="statement")
    kind = envelope.predicate_type
    predicate = read_model(_MODELS[kind], value["predicate"], what=kind)
    names = [subject.name for subject in envelope.subject]
    if not names or len(set(names)) != len(names):
        raise VerificationError(f"{kind} names no subject, or one twice", check="E_SUBJECT_AMBIGUOUS")
    return Statement(kind, tuple(envelope.subject), predicate, sha256_hex(payload))


def _check_type(value: Any) -> None:
    if not isinstance(value, dict) or value.get("_type") != STATEMENT:
        raise VerificationError("not an in-toto Statement v1", check="E_STATEMENT_TYPE")
    kind = value.get("predicateType")
    if not isinstance(kind, str) or kind not in _MODELS:
        raise VerificationError("a statement of a type that receipts do not have", check="E_STATEMENT_TYPE")


def _check_digest(subject: Mapping[str, Any]) -> None:
    """A second, weaker digest would let a subject match something else (in-toto DigestSet)."""
    digest = subject.get("digest")
    if isinstance(digest, dict) and set(digest) != {"sha256"}:
        raise VerificationError("a subject has digests other than sha256", check="E_DIGEST_ALG")


def _mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

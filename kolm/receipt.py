"""The receipt: signed statements about one artifact, detached from it.

The format is specs/formats/receipt.md. A receipt can be made again (another key, another time)
without changing the artifact or its CID, and it carries no key that anyone should trust.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kolm.artifact import Artifact
from kolm.canonical import canonical_json, decode_base64, parse_canonical
from kolm.cid import CID, cid_of, digest_of, parse_cid, sha256_hex
from kolm.dataset import parse_set
from kolm.dsse import sign_envelope
from kolm.errors import ArtifactError
from kolm.keys import PrivateKey
from kolm.pack import pack_from_members
from kolm.schema import Closed, read_model
from kolm.statements import (
    BUILD_TYPE,
    BUILDER,
    COMPILE,
    PROVENANCE,
    STAGES,
    STATEMENT,
    TEST_RESULT,
    Statement,
    parse_statement,
)
from kolm.trainlog import base_digest

KIND = "kolm-receipt/1"

RESULTS = {"PASS": "PASSED", "INCONCLUSIVE": "WARNED", "FAIL": "FAILED"}
"""The in-toto test result of each gate verdict."""

Block = Literal["vlm_train", "text_train"]
"""What the training block is called: by whether the base looks at images."""

MAX_BYTES = 64 * 1024 * 1024
_MAX_VALUES = 1000
"""Most commas and opening brackets of a receipt: its payloads are base64, which has none."""


@dataclass(frozen=True)
class CompileFacts:
    """What the pipeline observed; everything else in a receipt is read from the artifact."""

    run: str
    """128 random bits in hexadecimal."""
    artifact: Artifact
    train_block: Mapping[str, Any]
    """The content of `vlm_train` or `text_train`."""
    k_score: Mapping[str, Any]
    """The K-score document with gate and attempts, as `kolm.scorecard` makes it."""
    environment: Mapping[str, Any]
    timings: Mapping[str, Any]
    memory: Mapping[str, Any]
    started: str
    finished: str
    block: Block = "vlm_train"
    text_overlaps: int = 0
    """Eval rows without pictures whose question is trained on; nobody else can compute it."""
    near_duplicates: Mapping[str, int] | None = None
    """`{found, reviewed, waiting}`: pairs of a trained and an evaluated picture; None if nobody looked."""
    evaluation: Mapping[str, int] | None = None
    """`{batch, compared, differing}`: how the questions were asked."""
    planned: Mapping[str, int | None] | None = None
    """`{peak_bytes, step_ns}`: what the plan predicted."""


class _Document(Closed):
    kind: Literal["kolm-receipt/1"]
    artifact: str
    envelopes: list[Any]


@dataclass(frozen=True)
class Receipt:
    """A receipt that could be read; nothing in it is believed until its envelopes are opened."""

    cid: CID
    artifact: CID
    """The artifact it claims to be about."""
    envelopes: tuple[Any, ...]

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """Read a receipt. Raises ArtifactError (E_JSON_CANONICAL, E_SCHEMA, E_CID_SYNTAX, E_CID_PROFILE)."""
        if len(data) > MAX_BYTES:
            raise ArtifactError("the receipt is too large", check="E_LIMIT")
        value = parse_canonical(data, what="receipt", max_values=_MAX_VALUES)
        document = read_model(_Document, value, what="receipt")
        return cls(cid_of(data), parse_cid(document.artifact), tuple(document.envelopes))

    def unverified(self) -> list[Statement]:
        """Return what the envelopes say without asking who signed them: to look at, not to rely on.

        Raises ArtifactError, VerificationError.
        """
        return [parse_statement(_payload(envelope)) for envelope in self.envelopes]


def _payload(envelope: Any) -> bytes:
    payload = envelope.get("payload") if isinstance(envelope, dict) else None
    data = decode_base64(payload) if isinstance(payload, str) else None
    if data is None:
        raise ArtifactError("an envelope has no payload that can be read", check="E_ENVELOPE")
    return data


def build_receipt(facts: CompileFacts, key: PrivateKey) -> bytes:
    """Return the bytes of the receipt of one compile, signed with `key`.

    Every statement is read back before it is signed. Raises ArtifactError, VerificationError.
    """
    return seal(facts.artifact.cid, statements_of(facts), key)


def seal(artifact: CID, statements: Iterable[Mapping[str, Any]], key: PrivateKey) -> bytes:
    """Sign statements in the order given and return the receipt's bytes. Raises ArtifactError."""
    envelopes = []
    for statement in statements:
        payload = canonical_json(dict(statement))
        parse_statement(payload)
        envelopes.append(sign_envelope(payload, key))
    return canonical_json({"kind": KIND, "artifact": artifact, "envelopes": envelopes})


def statements_of(facts: CompileFacts) -> list[dict[str, Any]]:
    """Return the statements of a compile in the order of specs/formats/receipt.md 2."""
    artifact = facts.artifact
    subject = [_resource(f"{artifact.manifest.name}.kolm", digest_of(artifact.cid).hex())]
    return [
        *_stages(facts, subject),
        _statement(COMPILE, subject, _compile(facts)),
        _statement(PROVENANCE, subject, _provenance(facts)),
        _statement(TEST_RESULT, subject, _test_result(facts)),
    ]


def stage_plan(artifact: Artifact) -> dict[str, tuple[list[tuple[str, str]], list[str]]]:
    """Return for each stage what it consumes, as (name, origin), and which members it makes.

    specs/formats/receipt.md 4. Eval images are pinned by `eval/pack.jsonl`, which names their digests.
    """
    pack = [*artifact.members("pixels"), "eval/pack.jsonl", "eval/pack.yaml"]
    adapter = artifact.members("adapter", "weights")
    processor = artifact.members("processor")
    trained = [*adapter, "modules.json", *processor, "spec.lock.json", "train/log.jsonl"]
    made = {
        "spec": ["spec.yaml"],
        "data": [*pack, "train/set.json"],
        "train": trained,
        "eval": ["eval/rows.jsonl"],
    }
    base = ("base", "external")
    spec = ("spec.yaml", "spec")
    data = [(name, "data") for name in made["data"]]
    run = [(name, "train") for name in [*adapter, *processor, "spec.lock.json"]]
    members = sorted((name, stage) for stage, names in made.items() for name in names)
    return {
        "spec": ([base], made["spec"]),
        "data": ([spec], made["data"]),
        "train": ([base, spec, *data], made["train"]),
        "eval": ([base, *[(name, "data") for name in pack], *run], made["eval"]),
        "package": (members, ["manifest.json"]),
    }


def _stages(facts: CompileFacts, artifact: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chain the stages: each names the previous payload's digest and where its inputs come from."""
    container = facts.artifact.container
    base = base_digest([file.model_dump() for file in facts.artifact.manifest.base.files])
    previous: str | None = None
    statements = []
    for stage, (consumed, made) in stage_plan(facts.artifact).items():
        consumes = [
            {"name": name, "sha256": base if name == "base" else container.sha256(name), "from": origin}
            for name, origin in consumed
        ]
        subjects = [_resource(name, container.sha256(name)) for name in made]
        predicate = {"run": facts.run, "stage": stage, "previous": previous, "consumes": consumes}
        final = list(artifact) if stage == STAGES[-1] else []
        statement = _statement(f"urn:kolm:stage:{stage}:v1", [*final, *subjects], predicate)
        previous = sha256_hex(canonical_json(statement))
        statements.append(statement)
    return statements


def _compile(facts: CompileFacts) -> dict[str, Any]:
    manifest = facts.artifact.manifest
    base = manifest.base.model_dump()
    return {
        "run": facts.run,
        "name": manifest.name,
        "task": manifest.task,
        "family": manifest.family,
        facts.block: dict(facts.train_block),
        "modules": module_summary(facts.artifact),
        "k_score": dict(facts.k_score),
        "base": {**base, "files": base_digest(base["files"])},
        "data": {
            **data_counts(facts.artifact),
            "text_overlaps": facts.text_overlaps,
            "near_duplicates": facts.near_duplicates and dict(facts.near_duplicates),
        },
        "environment": dict(facts.environment),
        "timings": dict(facts.timings),
        "evaluation": facts.evaluation and dict(facts.evaluation),
        "planned": facts.planned and dict(facts.planned),
        "memory": dict(facts.memory),
        "started": facts.started,
        "finished": facts.finished,
    }


def module_summary(artifact: Artifact) -> dict[str, Any]:
    """Return the compile statement's `modules`, from the module manifest."""
    modules = artifact.modules
    elements = {"frozen": 0, "trainable": 0}
    for parameter in modules.parameters:
        elements[parameter.state] += parameter.elements
    return {
        "cid": cid_of(artifact.read("modules.json")),
        "frozen_modules": modules.frozen_modules,
        "trainable_modules": modules.trainable_modules,
        "counts": {
            "frozen": len(modules.frozen),
            "trainable": len(modules.trainable),
            "frozen_elements": elements["frozen"],
            "trainable_elements": elements["trainable"],
        },
    }


def data_counts(artifact: Artifact) -> dict[str, Any]:
    """Return what the compile statement's `data` counts in the training set and the eval pack."""
    document = parse_set(artifact.read("train/set.json"))
    return {
        "root": artifact.container.sha256("train/set.json"),
        "train": len(document.rows),
        "validation": len(document.validation),
        "eval": len(pack_from_members(artifact.read).rows),
    }


def _provenance(facts: CompileFacts) -> dict[str, Any]:
    container, lock = facts.artifact.container, facts.artifact.lock
    files = facts.artifact.manifest.base.files
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"spec": _resource("spec.yaml", container.sha256("spec.yaml"))},
            "internalParameters": {
                "lock": _resource("spec.lock.json", container.sha256("spec.lock.json")),
                "seed": lock.seed.effective,
            },
            "resolvedDependencies": [_resource(f"base/{file.path}", file.sha256) for file in files],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"kolm": lock.versions.get("kolm", "")}},
            "metadata": {
                "invocationId": facts.run,
                "startedOn": facts.started,
                "finishedOn": facts.finished,
            },
        },
    }


def _test_result(facts: CompileFacts) -> dict[str, Any]:
    tested = gate_configuration(facts.artifact, run=facts.run)
    return {"configuration": tested, **gate_outcome(facts.k_score["gate"])}


def gate_configuration(artifact: Artifact, *, run: str) -> list[dict[str, Any]]:
    """Return what the gate was run with, as in-toto's test-result has it: files by digest, and the run."""
    files = ("spec.lock.json", "eval/pack.jsonl", "eval/rows.jsonl")
    pinned = [_resource(name, artifact.container.sha256(name)) for name in files]
    return [*pinned, {"name": "run", "uri": f"urn:kolm:run:{run}"}]


def gate_outcome(gate: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gate in the words of in-toto's test-result: which conditions held, and the result.

    Conditions that do not apply are left out; too few rows make the unmet ones warnings.
    """
    unmet = [condition["id"] for condition in gate["conditions"] if condition["ok"] is False]
    inconclusive = gate["verdict"] == "INCONCLUSIVE"
    return {
        "result": RESULTS[gate["verdict"]],
        "passedTests": [condition["id"] for condition in gate["conditions"] if condition["ok"]],
        "warnedTests": unmet if inconclusive else [],
        "failedTests": [] if inconclusive else unmet,
    }


def _statement(kind: str, subjects: Sequence[Any], predicate: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": list(subjects),
        "predicateType": kind,
        "predicate": dict(predicate),
    }


def _resource(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}

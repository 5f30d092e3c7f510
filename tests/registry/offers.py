"""Small things to offer a registry: artifacts that can be read, receipts that nobody signed, and a
verifier that takes their word. What verification itself finds is tested with kolm.verify; here the
registry is tested with bundles of every kind at no cost.
"""

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kolm.artifact import write_artifact
from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import CID, cid_of
from kolm.container import Container
from kolm.errors import ArtifactError
from kolm.modules import Gradient, ModuleManifest, Origin, Parameter
from kolm.policy import Policy
from kolm.predicates import CompilePredicate
from kolm.trust import TrustStore
from kolm.verify import AuditReport, Check

ZERO = "0" * 64
FROZEN = (
    "visual.blocks.0.attn.qkv.weight",
    "visual.merger.mlp.0.weight",
    "language_model.embed_tokens.weight",
)
TRAINED = (
    "language_model.layers.0.self_attn.q_proj.lora_A",
    "language_model.layers.0.self_attn.q_proj.lora_B",
)


@dataclass(frozen=True)
class Offer:
    """One artifact with one receipt, as files."""

    artifact: Path
    receipt: Path
    cid: CID

    @property
    def receipt_cid(self) -> CID:
        return cid_of(self.receipt.read_bytes())

    @property
    def modules(self) -> bytes:
        with Container.open(self.artifact) as container:
            return container.read("modules.json")

    def parts(self, **fields: str) -> dict[str, Any]:
        """The multipart body of an upload, for an HTTP client's `files`."""
        files = {
            "artifact": ("a.kolm", self.artifact.read_bytes()),
            "receipt": ("r.json", self.receipt.read_bytes()),
        }
        return files | {name: (None, value) for name, value in fields.items()}


def make_offer(
    folder: Path,
    *,
    name: str = "digits",
    base: str = "acme/tiny-vl",
    family: str = "qwen2_5_vl",
    frozen: tuple[str, ...] = FROZEN,
    trained: tuple[str, ...] = TRAINED,
    verdict: str = "PASS",
    k: float | None = 0.9,
    finished: str = "2026-01-31T12:00:00Z",
) -> Offer:
    """Write an artifact and an unsigned receipt into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    members: dict[str, bytes | Path] = {
        path: path.encode()
        for path in (
            "spec.yaml",
            "spec.lock.json",
            "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors",
            "train/set.json",
            "train/log.jsonl",
            "eval/pack.yaml",
            "eval/pack.jsonl",
            "eval/rows.jsonl",
        )
    }
    members["modules.json"] = _modules(family, frozen, trained)
    path = folder / f"{cid_of(name.encode())[-8:]}.kolm"
    described = {"model": base, "revision": None, "licence": None, "files": []}
    cid = write_artifact(path, members, name=name, task="read a digit", family=family, base=described)
    receipt = folder / f"{path.stem}.receipt.json"
    said = _compile(name, family, base, verdict=verdict, k=k, finished=finished)
    receipt.write_bytes(
        canonical_json({"kind": "kolm-receipt/1", "artifact": cid, "envelopes": [{"said": said}]})
    )
    return Offer(path, receipt, cid)


class TakesItsWord:
    """A verifier without cryptography: the artifact can be read, and the receipt is about it."""

    def __call__(
        self,
        artifact: Path,
        receipt: bytes | None,
        trust: TrustStore,
        *,
        expected_cid: CID | None = None,
        stop_at_first: bool = False,
    ) -> AuditReport:
        try:
            document = parse_canonical(receipt or b"", what="receipt")
            with Container.open(artifact) as container:
                cid = container.cid
        except ArtifactError as err:
            return _report(None, code=err.check, detail=err.message)
        if document["artifact"] != cid:
            return _report(None, code="E_SUBJECT_MISMATCH", detail="the receipt is about another artifact")
        said = document["envelopes"][0]["said"]
        report = _report(CompilePredicate.model_validate(said), code=None, detail="it says so")
        return replace(report, artifact=cid, receipt=cid_of(receipt or b""))


def _report(said: CompilePredicate | None, *, code: str | None, detail: str) -> AuditReport:
    status = "failed" if code else "passed"
    check = Check(1, "word", "its word", status, "signed only", code, detail)  # type: ignore[arg-type]
    return AuditReport(
        artifact=None,
        receipt=None,
        keys=(),
        checks=(check,),
        at=datetime.now(UTC),
        policy=Policy(),
        compile=said,
    )


def _modules(family: str, frozen: tuple[str, ...], trained: tuple[str, ...]) -> bytes:
    parameters = [
        Parameter(
            name=name,
            shape=[1],
            dtype="float32",
            part="vision" if name.startswith("visual") else "language",
            state="frozen" if name in frozen else "trainable",
            before=ZERO if name in frozen else None,
            after=ZERO,
            base=Origin(file=None, key=None, relation="absent"),
            gradient=None if name in frozen else Gradient(seen=True, max_norm=1.0),
        )
        for name in (*frozen, *trained)
    ]
    return ModuleManifest.of(family=family, model_type=family, parameters=parameters, buffers=[]).to_bytes()


def _compile(
    name: str, family: str, base: str, *, verdict: str, k: float | None, finished: str
) -> dict[str, Any]:
    axis = {"value": k, "raw": k, "unit": "share", "norm": "identity", "evidence": "recomputed"}
    block = {
        "model_id": base,
        "papers": [],
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_targets": ["q_proj"],
        "frozen_modules": [],
        "trainable_modules": [],
        "learning_rate": 0.0001,
        "max_seq_length": 256,
        "train_examples": 1,
        "freeze_vision": True,
    }
    counts = {"frozen": 1, "trainable": 1, "frozen_elements": 1, "trainable_elements": 1}
    cid = cid_of(base64.b64encode(name.encode()))
    return {
        "run": "0" * 32,
        "name": name,
        "task": "read a digit",
        "family": family,
        "vlm_train": block,
        "modules": {"cid": cid, "frozen_modules": [], "trainable_modules": [], "counts": counts},
        "k_score": {
            "definition": "kolm-k/vlm-1",
            "value": k,
            "interval": None,
            "axes": dict.fromkeys("ASLCV", axis),
            "accuracy": {},
            "other": {},
            "gate": {"verdict": verdict, "conditions": []},
            "attempts": 1,
        },
        "base": {"model": base, "revision": None, "licence": None, "files": ZERO},
        "data": {"root": ZERO, "train": 1, "validation": 0, "eval": 1},
        "environment": {"python": "3.11"},
        "timings": {"rows": [], "steps_ns": []},
        "memory": {"peak_bytes": 1},
        "started": "2026-01-31T11:00:00Z",
        "finished": finished,
    }


def slug(answer: Any) -> str:
    """Return the slug of an HTTP answer that must be a whole problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    assert document["detail"]
    return document["type"].removeprefix("urn:kolm:problem:")

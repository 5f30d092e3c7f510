"""One compile as a straight line: spec, data, plan, training, outputs, artifact, receipt.

`compile_spec` knows no model library: whoever trains and whoever asks the models are arguments.
Nothing appears in the output folder before everything that belongs together is complete.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from kolm.artifact import Artifact, write_artifact
from kolm.attempts import count_attempt
from kolm.canonical import canonical_json, canonical_lines
from kolm.cid import CID, sha256_hex
from kolm.dataset import Dataset
from kolm.files import make_folder, read_bytes, replace_all, staging, write_atomic
from kolm.inputs import Inputs
from kolm.keys import PrivateKey
from kolm.modules import ModuleManifest
from kolm.pack import EvalPack, pack_members
from kolm.receipt import Block, CompileFacts, build_receipt
from kolm.scorecard import score_artifact
from kolm.spec import LoadedSpec
from kolm.trainlog import base_digest, effective_seed


class Trained(Protocol):
    """What training left behind; see `apps.trainer.vlm.TrainResult`."""

    @property
    def adapter_dir(self) -> Path:
        """Folder of what was trained: `adapter`, or `weights` where no adapter was."""

    @property
    def manifest(self) -> ModuleManifest:
        """Every parameter as it was seen."""

    @property
    def log(self) -> bytes:
        """The step log."""

    @property
    def metrics(self) -> dict[str, Any]:
        """Counts and losses; `steps_ns` are wall times in nanoseconds."""


class Job(Protocol):
    """A trainer that has found the base of one spec and planned its freeze; see `apps.trainer.job`."""

    @property
    def family(self) -> str:
        """Name of the base's family."""

    @property
    def sees_images(self) -> bool:
        """Whether the base looks at images; if not, rows hold text alone and the block is `text_train`."""

    @property
    def base_identity(self) -> dict[str, Any]:
        """The base as a manifest names it."""

    @property
    def targets(self) -> list[str]:
        """Full names of the modules that get LoRA factors."""

    @property
    def target_parameters(self) -> list[str]:
        """Full names of the 3-D parameters that get LoRA factors."""

    @property
    def resolved(self) -> dict[str, Any]:
        """What the settings that say `auto` mean here: device, dtype, keep, parts, servable_as."""

    @property
    def cost(self) -> dict[str, int]:
        """Parameter counts behind the C axis."""

    @property
    def processor(self) -> dict[str, Any]:
        """What turns images and text into tensors."""

    @property
    def processor_files(self) -> dict[str, Path]:
        """Processor files of the base, by the name of their member."""

    def check_pack(self, pack: EvalPack) -> None:
        """Find a question that the processor refuses before anything is trained."""

    def versions(self) -> dict[str, str]:
        """Versions of everything that changes an output byte."""

    def train(
        self,
        dataset: Dataset,
        validation: Dataset | None,
        *,
        commitment: Mapping[str, Any],
        folder: Path,
        progress: Callable[[int, int, float], None] | None,
    ) -> Trained:
        """Train and observe."""

    def train_block(self, result: Any) -> dict[str, Any]:
        """The receipt's `vlm_train` or `text_train`."""

    def environment(self) -> dict[str, Any]:
        """What this ran on."""

    def peak_memory(self) -> int:
        """Highest memory use in bytes."""


class Outputs(Protocol):
    """What the models said; see `apps.eval.run.Outputs`."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of `eval/rows.jsonl`."""

    @property
    def base_ns(self) -> list[int]:
        """Wall time of each answer of the base."""

    @property
    def tuned_ns(self) -> list[int]:
        """Wall time of each answer of the tuned model."""


Evaluate = Callable[..., Outputs]
"""(job, trained, pack, metrics=, max_new_tokens=, progress=) -> outputs; `kolm.cli` joins the two apps."""


class Voice(Protocol):
    """Whoever is told how far a compile has come."""

    def planned(self, inputs: Inputs, job: Job) -> None:
        """Inputs are read and the freeze is planned."""

    def training(self, step: int, steps: int, loss: float) -> None:
        """One more optimizer step is done."""

    def asking(self, model: str, done: int, rows: int) -> None:
        """One more question is answered."""


@dataclass(frozen=True)
class CompileResult:
    """The files of one compile."""

    cid: CID
    artifact: Path
    receipt: Path
    modules: Path
    k_score: dict[str, Any]
    train_block: dict[str, Any]
    metrics: dict[str, Any]
    block: Block = "vlm_train"
    """What the receipt calls `train_block`."""

    @property
    def verdict(self) -> str:
        """PASS, FAIL or INCONCLUSIVE."""
        return str(self.k_score["gate"]["verdict"])


def compile_spec(
    loaded: LoadedSpec,
    *,
    job: Job,
    evaluate: Evaluate,
    inputs: Inputs,
    signer: PrivateKey,
    out: Path,
    voice: Voice,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> CompileResult:
    """Compile a spec into `<name>.kolm`, `<name>.receipt.json` and `<name>.modules.json` under `out`.

    The artifact's bytes depend on the inputs alone; run id, clock and measurements go into the receipt.
    Raises TrainError, FreezeMismatchError, EvalError, StorageError; then `out` is as it was.
    """
    spec, started = loaded.spec, _timestamp(clock())
    lock = lock_document(loaded, job=job, inputs=inputs)
    job.check_pack(inputs.pack)
    voice.planned(inputs, job)
    with staging(make_folder(out)) as work:
        trained = job.train(
            inputs.dataset,
            inputs.validation,
            commitment=commitment(loaded, lock=lock, job=job, inputs=inputs),
            folder=work,
            progress=voice.training,
        )
        outputs = evaluate(
            job,
            trained,
            inputs.pack,
            metrics=inputs.metrics,
            max_new_tokens=spec.generation.max_new_tokens,
            progress=voice.asking,
        )
        artifact = _pack_up(work, loaded, lock, job=job, inputs=inputs, trained=trained, outputs=outputs)
        timings = _timings(outputs, trained)
        k_score = score_artifact(
            artifact,
            timings=timings["rows"],
            attempts=count_attempt(inputs.pack.digest),
            text_overlaps=inputs.text_overlaps,
        )
        train_block = job.train_block(trained)
        block: Block = "vlm_train" if job.sees_images else "text_train"
        facts = CompileFacts(
            run=secrets.token_hex(16),
            artifact=artifact,
            train_block=train_block,
            k_score=k_score,
            environment=job.environment(),
            timings=timings,
            memory={"peak_bytes": job.peak_memory()},
            started=started,
            finished=_timestamp(clock()),
            block=block,
            text_overlaps=inputs.text_overlaps,
        )
        write_atomic(work / f"{spec.name}.receipt.json", build_receipt(facts, signer))
        write_atomic(work / f"{spec.name}.modules.json", artifact.read("modules.json"))
        result = CompileResult(
            cid=artifact.cid,
            artifact=out / f"{spec.name}.kolm",
            receipt=out / f"{spec.name}.receipt.json",
            modules=out / f"{spec.name}.modules.json",
            k_score=k_score,
            train_block=train_block,
            metrics=trained.metrics,
            block=block,
        )
        replace_all([(work / path.name, path) for path in (result.artifact, result.receipt, result.modules)])
    return result


def lock_document(loaded: LoadedSpec, *, job: Job, inputs: Inputs) -> bytes:
    """Return `spec.lock.json`: everything that changes an output byte, resolved."""
    spec = loaded.spec
    return canonical_json(
        {
            "kind": "kolm-lock/1",
            "base": job.base_identity,
            "seed": {"spec": spec.train.seed, "effective": _seed(loaded, inputs)},
            "config": spec.train.model_dump(mode="json"),
            "resolved": job.resolved,
            "targets": job.targets,
            "target_parameters": job.target_parameters,
            "processor": job.processor,
            "metrics": inputs.metrics,
            "generation": {"max_new_tokens": spec.generation.max_new_tokens, "batch": 1, "greedy": True},
            "eval": {
                "min_accuracy": spec.eval.min_accuracy,
                "gate": {"k": spec.eval.gate.k},
                "budget": {"latency_p95_s": spec.eval.budget.latency_p95_s},
                "seed": spec.eval.seed,
            },
            "cost": job.cost,
            "versions": job.versions(),
        }
    )


def commitment(loaded: LoadedSpec, *, lock: bytes, job: Job, inputs: Inputs) -> dict[str, Any]:
    """Return what the step log's head commits to before the first step."""
    return {
        "spec": sha256_hex(loaded.text),
        "lock": sha256_hex(lock),
        "set": sha256_hex(inputs.set_document),
        "pack": inputs.pack.digest,
        "base": base_digest(job.base_identity["files"]),
        "seed": _seed(loaded, inputs),
    }


def _seed(loaded: LoadedSpec, inputs: Inputs) -> int:
    return effective_seed(loaded.spec.train.seed, root=sha256_hex(inputs.set_document))


def _pack_up(
    work: Path,
    loaded: LoadedSpec,
    lock: bytes,
    *,
    job: Job,
    inputs: Inputs,
    trained: Trained,
    outputs: Outputs,
) -> Artifact:
    """Write the artifact from its members and open it again, strictly."""
    spec = loaded.spec
    path = work / f"{spec.name}.kolm"
    kept = trained.adapter_dir
    adapter = {f"{kept.name}/{file.name}": file for file in sorted(kept.iterdir())}
    files = {name: read_bytes(file, what="processor file") for name, file in job.processor_files.items()}
    members: dict[str, bytes | Path] = {
        "spec.yaml": loaded.text,
        "spec.lock.json": lock,
        **adapter,
        **files,
        "modules.json": trained.manifest.to_bytes(),
        "train/set.json": inputs.set_document,
        "train/log.jsonl": trained.log,
        **pack_members(inputs.pack),
        "eval/rows.jsonl": canonical_lines(outputs.rows),
    }
    write_artifact(path, members, name=spec.name, task=spec.task, family=job.family, base=job.base_identity)
    return Artifact.open(path)


def _timings(outputs: Outputs, trained: Trained) -> dict[str, Any]:
    rows = zip(outputs.rows, outputs.base_ns, outputs.tuned_ns, strict=True)
    return {
        "rows": [{"id": row["id"], "base_ns": base, "tuned_ns": tuned} for row, base, tuned in rows],
        "steps_ns": trained.metrics["steps_ns"],
    }


def _timestamp(now: datetime) -> str:
    """Return a UTC time in whole seconds, as RFC 3339 writes it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

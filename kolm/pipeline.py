"""One compile as a straight line: spec, data, plan, training, outputs, artifact, receipt.

`compile_spec` knows no model library: whoever trains and whoever asks the models are arguments.
Nothing appears in the output folder before everything that belongs together is complete.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kolm.artifact import Artifact, write_artifact
from kolm.attempts import count_attempt
from kolm.canonical import canonical_json, canonical_lines
from kolm.cid import CID, sha256_hex
from kolm.collaborators import Evaluate, Job, Outputs, Trained, Voice
from kolm.files import make_folder, read_bytes, replace_all, staging, write_atomic
from kolm.inputs import Inputs
from kolm.instants import spell_instant
from kolm.keys import PrivateKey
from kolm.metrics import versions_of
from kolm.pack import pack_members
from kolm.receipt import Block, CompileFacts, Receipt, build_receipt
from kolm.report import facts_of, html_page, markdown_card
from kolm.scorecard import score_artifact
from kolm.spec import LoadedSpec
from kolm.trainlog import base_digest, effective_seed


@dataclass(frozen=True)
class CompileResult:
    """The files of one compile."""

    cid: CID
    artifact: Path
    receipt: Path
    modules: Path
    report: Path
    card: Path
    """The report as Markdown."""
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
    """Compile a spec into `<name>.kolm`, its receipt, module manifest and reports under `out`.

    The artifact's bytes depend on the inputs alone; run id, clock and measurements go into the receipt.
    Raises TrainError, FreezeMismatchError, EvalError, StorageError; then `out` is as it was.
    """
    spec, started = loaded.spec, spell_instant(clock())
    lock = lock_document(loaded, job=job, inputs=inputs)
    job.check_pack(inputs.pack)
    voice.planned(inputs, job)
    planned = job.predict(inputs.dataset)
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
            lock=lock,
            metrics=inputs.metrics,
            max_new_tokens=spec.generation.max_new_tokens,
            progress=voice.asking,
        )
        artifact = _pack_up(work, loaded, lock, job=job, inputs=inputs, trained=trained, outputs=outputs)
        facts = _observed(
            artifact, job, inputs, trained, outputs, planned=planned, started=started, clock=clock
        )
        receipt = build_receipt(facts, signer)
        write_atomic(work / f"{spec.name}.receipt.json", receipt)
        write_atomic(work / f"{spec.name}.modules.json", artifact.read("modules.json"))
        shown = facts_of(artifact, Receipt.parse(receipt))
        write_atomic(work / f"{spec.name}.report.html", html_page(shown).encode())
        write_atomic(work / f"{spec.name}.report.md", markdown_card(shown).encode())
        result = CompileResult(
            cid=artifact.cid,
            artifact=out / f"{spec.name}.kolm",
            receipt=out / f"{spec.name}.receipt.json",
            modules=out / f"{spec.name}.modules.json",
            report=out / f"{spec.name}.report.html",
            card=out / f"{spec.name}.report.md",
            k_score=dict(facts.k_score),
            train_block=dict(facts.train_block),
            metrics=trained.metrics,
            block=facts.block,
        )
        written = (result.artifact, result.receipt, result.modules, result.report, result.card)
        replace_all([(work / path.name, path) for path in written])
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
            "generation": {
                "max_new_tokens": spec.generation.max_new_tokens,
                "batch": job.batch,
                "greedy": True,
            },
            "eval": {
                "min_accuracy": spec.eval.min_accuracy,
                "gate": {"k": spec.eval.gate.k},
                "budget": {"latency_p95_s": spec.eval.budget.latency_p95_s},
                "seed": spec.eval.seed,
            },
            "cost": job.cost,
            "versions": job.versions() | versions_of(inputs.metrics.values()),
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


def _observed(
    artifact: Artifact,
    job: Job,
    inputs: Inputs,
    trained: Trained,
    outputs: Outputs,
    *,
    planned: dict[str, int | None],
    started: str,
    clock: Callable[[], datetime],
) -> CompileFacts:
    """Score the artifact and gather everything that a receipt says beside what the artifact holds."""
    timings = {"rows": outputs.timings, "steps_ns": trained.metrics["steps_ns"]}
    return CompileFacts(
        run=secrets.token_hex(16),
        artifact=artifact,
        k_score=score_artifact(
            artifact,
            timings=timings["rows"],
            attempts=count_attempt(inputs.pack.digest),
            near_duplicates=len(inputs.leaks.waiting),
            text_overlaps=len(inputs.leaks.texts),
        ),
        train_block=job.train_block(trained),
        environment=job.environment(),
        timings=timings,
        evaluation=outputs.evaluation,
        planned=planned,
        memory={"peak_bytes": job.peak_memory()},
        started=started,
        finished=spell_instant(clock()),
        block="vlm_train" if job.sees_images else "text_train",
        near_duplicates=inputs.leaks.near_duplicates,
        text_overlaps=len(inputs.leaks.texts),
    )

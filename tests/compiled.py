"""Whole compiles in a few seconds: real training of a base on a few digits, answers made up.

What a method trains, how it is described and packed, and whether an auditor accepts it, needs no model to
be asked; only the answers are not the model's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.eval.run import Outputs, evaluate
from apps.trainer.job import Job
from apps.trainer.plan import Plan
from apps.trainer.vlm import TrainResult
from kolm.artifact import Artifact
from kolm.draws import timed_rows
from kolm.inputs import Inputs, read_inputs
from kolm.keys import PrivateKey
from kolm.modules import ModuleManifest
from kolm.pack import EvalPack
from kolm.pipeline import CompileResult, compile_spec
from kolm.spec import load_spec
from kolm.trust import TrustStore
from kolm.verify import AuditReport, verify_bundle
from tests.bundles import eval_rows, write_eval_pack
from tests.digits import digits

ROWS = 8
BRIEF = {
    "learning_rate": 5e-3,
    "lr_scheduler": "constant",
    "num_train_epochs": 6,
    "per_device_train_batch_size": ROWS,
    "gradient_accumulation_steps": 1,
    "lora_r": 4,
    "bf16": False,
}
"""Six steps, each over all rows, so that the losses of two steps can be compared."""


@dataclass(frozen=True)
class Compiled:
    """A finished compile, what was planned for it, and what training left."""

    result: CompileResult
    plan: Plan
    trained: TrainResult
    report: AuditReport
    key: PrivateKey
    """Whose signature the report trusts."""

    @property
    def manifest(self) -> ModuleManifest:
        """Every parameter as it was seen."""
        return self.trained.manifest

    @property
    def moved(self) -> set[str]:
        """Names of the base's own parameters whose bytes changed."""
        return {p.name for p in self.manifest.parameters if p.before not in (None, p.after)}

    @property
    def artifact(self) -> Artifact:
        """The artifact, opened."""
        return Artifact.open(self.result.artifact)


class _Silent:
    def planned(self, inputs: Inputs, job: Any) -> None: ...

    def training(self, step: int, steps: int, loss: float) -> None: ...

    def asking(self, model: str, done: int, rows: int) -> None: ...


def compile_with(base: Path, folder: Path, *, asked: bool = False, **train: Any) -> Compiled:
    """Compile eight digits on a base with these training settings, and verify the result.

    In a folder that has been used the same rows and salts are, so that the seed is the same too. The answers
    are the models' own if they are `asked`.
    """
    if not (folder / "train").exists():
        _write_inputs(folder, base)
    spec = {
        "kolm": 1,
        "name": "digits",
        "base": {"model": "base"},
        "data": {"train": "train/pairs.jsonl", "eval": "eval/pack.yaml"},
        "train": BRIEF | train,
        "eval": {"min_accuracy": 0.5},
    }
    (folder / "spec.yaml").write_text(json.dumps(spec), encoding="utf-8")  # JSON is YAML
    loaded = load_spec(folder / "spec.yaml")
    job, kept = Job.open(loaded), []

    def answers(job: Job, trained: TrainResult, pack: EvalPack, *, lock: bytes, **options: Any) -> Outputs:
        kept.append(trained)
        if asked:
            opened = (job.open_base, lambda: job.open_tuned(trained.adapter_dir, trained.manifest))
            return evaluate(*opened, pack, sees_images=job.sees_images, batch=job.batch, **options)
        rows = eval_rows(pack, tuned_right=0.9)
        timed = timed_rows(pack.digest, [row["id"] for row in rows])
        timings = [{"id": row_id, "base_ns": 1_000_000, "tuned_ns": 1_000_000} for row_id in timed]
        compared = 2 * len(timed) if job.batch > 1 else 0
        return Outputs(rows, timings, {"batch": job.batch, "compared": compared, "differing": 0})

    key = PrivateKey.generate()
    result = compile_spec(
        loaded,
        job=job,
        evaluate=answers,
        inputs=read_inputs(loaded, sees_images=job.sees_images),
        signer=key,
        out=folder / f"out-{len(list(folder.iterdir()))}",
        voice=_Silent(),
    )
    report = verify_bundle(
        result.artifact, result.receipt.read_bytes(), TrustStore.of(key.public), base_dir=base
    )
    return Compiled(result, job.plan, kept[0], report, key)


def _write_inputs(folder: Path, base: Path) -> None:
    (folder / "train").mkdir(parents=True)
    (folder / "base").symlink_to(base)
    rows = []
    for n, (image, word) in enumerate(digits(ROWS)):
        image.save(folder / "train" / f"{n}.png")
        rows.append({"image": f"{n}.png", "prompt": "Which digit is it?", "response": word})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train" / "pairs.jsonl").write_text(lines, encoding="utf-8")
    write_eval_pack(folder / "eval", rows=4)

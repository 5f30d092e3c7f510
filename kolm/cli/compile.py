"""`kolm compile`: join a trainer and an evaluator, compile a spec, publish, and say what came out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.bars import Bars
from kolm.cli.console import command, emit, note, require_extra
from kolm.cli.evidence import Found
from kolm.cli.leaks import leak_lines
from kolm.cli.options import AsJson
from kolm.cli.store import send
from kolm.cli.summary import GATE_EXIT, score_lines
from kolm.cli.workflow import tell_workflow

if TYPE_CHECKING:
    from kolm.collaborators import Job
    from kolm.inputs import Inputs
    from kolm.pipeline import CompileResult

PARTS = ("vision", "projector", "audio", "language", "head")
"""Parts of a model, in the order in which a plan shows them."""


@command
def compile_(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for the artifact, receipt and module manifest.")] = Path(
        "out"
    ),
    registry: Annotated[str | None, typer.Option(help="Registry to push the result to.")] = None,
    push_failed: Annotated[bool, typer.Option(help="Push even if the gate did not pass.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train, evaluate, pack and sign what a spec describes."""
    require_extra("torch", "train")
    from apps.trainer.job import Job
    from kolm.inputs import read_inputs
    from kolm.keys import key_path, load_private, passphrase_source
    from kolm.pipeline import compile_spec
    from kolm.spec import load_spec

    loaded = load_spec(spec)
    signer = load_private(
        key_path(loaded.spec.sign.key), passphrase=passphrase_source(prompt=sys.stdin.isatty())
    )
    url = registry or (loaded.spec.registry.url if loaded.spec.registry else None)
    if url:
        _reachable(url)
    job = Job.open(loaded)
    inputs = read_inputs(loaded, sees_images=job.sees_images)
    with _Voice(spec) as voice:
        result = compile_spec(
            loaded, job=job, evaluate=_evaluate, inputs=inputs, signer=signer, out=out, voice=voice
        )
    Found.beside(result.artifact).proof.unlink(missing_ok=True)  # of the receipt that was here before
    tell_workflow(result.card)
    if not as_json:
        emit(_summary(result))
    pushed = _push(result, url, allow_failed=push_failed) if url else None
    if as_json:
        emit(_document(result, pushed), as_json=True)
    raise typer.Exit(GATE_EXIT[result.verdict])


def _evaluate(job: Any, trained: Any, pack: Any, *, lock: bytes, **options: Any) -> Any:
    """Join the two apps: the trainer opens the models, the evaluator asks them."""
    from apps.eval.run import evaluate
    from kolm.cid import sha256_hex

    return evaluate(
        job.open_base,
        lambda: job.open_tuned(trained.adapter_dir, trained.manifest),
        pack,
        sees_images=job.sees_images,
        batch=job.batch,
        facts={
            "lock": sha256_hex(lock),
            "trained": sha256_hex(trained.manifest.to_bytes()),
            "pack": pack.digest,
            "environment": job.environment(),
        },
        **options,
    )


def _reachable(url: str) -> None:
    """Fail before training, not after it, when there is no registry at the address."""
    from registry.client import RegistryClient

    with RegistryClient(url) as registry:
        registry.search(limit=1)


def _push(result: "CompileResult", url: str, *, allow_failed: bool) -> str | None:
    if result.verdict != "PASS" and not allow_failed:
        note(f"not pushed: the gate says {result.verdict}; --push-failed pushes it all the same")
        return None
    send(result.artifact, result.receipt, registry=url, allow_failed=allow_failed)
    note(f"pushed   {url}")
    return url


class _Voice(Bars):
    """Tells the person at the terminal what is planned and how far things are, on stderr."""

    def __init__(self, spec: Path) -> None:
        super().__init__()
        self._spec = spec

    def planned(self, inputs: "Inputs", job: "Job") -> None:
        plan: Any = job.plan  # type: ignore[attr-defined]  # only this trainer's jobs are joined here
        held = inputs.validation.count if inputs.validation else 0
        note(
            f"plan     {job.family}: {inputs.dataset.count} train, {held} validation, "
            f"{len(inputs.pack.rows)} eval rows"
        )
        for line in leak_lines(inputs.leaks.counts(), self._spec):
            note(f"leaks    {line}")
        for part in sorted({*plan.parts.values()}, key=PARTS.index):
            size, treatment = plan.elements(part), plan.treatments[part]
            extra = f" + {plan.added_to[part]:,} of LoRA" if treatment == "lora" else ""
            note(f"  {part:<10} {treatment:<7} {size:>14,} parameters{extra}")
        unpinned: str | None = job.base.note  # type: ignore[attr-defined]
        if unpinned:
            note(f"warning: {unpinned}")

    def training(self, step: int, steps: int, loss: float) -> None:
        self.advance("train", step, steps, f"loss {loss:.4f}")
        if not self.live:
            note(f"train    step {step}/{steps}  loss {loss:.4f}")


def _summary(result: "CompileResult") -> str:
    """The result in a few lines, failing conditions first."""
    lines = [
        *score_lines(result.k_score),
        *_left_out(result.metrics),
        f"wrote    {result.artifact}  {result.receipt.name}  {result.modules.name}",
        f"report   {result.report}  {result.card.name}",
        f"cid      {result.cid}",
        f"next     kolm verify {result.artifact}",
    ]
    return "\n".join(lines)


def _left_out(metrics: dict[str, Any]) -> list[str]:
    """A line for each way in which rows were not trained on as they were given."""
    told = (
        ("truncated", "prompts were cut to fit max_seq_length"),
        ("dropped", "rows did not fit and were left out"),
        ("validation_dropped", "validation rows did not fit and were left out"),
    )
    return [
        f"warning  {len(metrics[kind])} {what}: {', '.join(metrics[kind][:3])}"
        for kind, what in told
        if metrics[kind]
    ]


def _document(result: "CompileResult", pushed: str | None) -> dict[str, Any]:
    return {
        "cid": result.cid,
        "artifact": str(result.artifact),
        "receipt": str(result.receipt),
        "modules": str(result.modules),
        "report": str(result.report),
        "card": str(result.card),
        "verdict": result.verdict,
        "k_score": result.k_score,
        result.block: result.train_block,
        "pushed": pushed,
    }

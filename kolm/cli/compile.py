"""`kolm compile`: join a trainer and an evaluator, compile a spec, publish, and say what came out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from kolm.cli.console import command, emit, note, require_extra

if TYPE_CHECKING:
    from kolm.collaborators import Job
    from kolm.inputs import Inputs
    from kolm.pipeline import CompileResult

GATE_EXIT = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}
"""Exit code of each verdict."""

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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
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
    with _Voice() as voice:
        result = compile_spec(
            loaded, job=job, evaluate=_evaluate, inputs=inputs, signer=signer, out=out, voice=voice
        )
    if not as_json:
        emit(_summary(result))
    pushed = _push(result, url, allow_failed=push_failed) if url else None
    if as_json:
        emit(_document(result, pushed), as_json=True)
    raise typer.Exit(GATE_EXIT[result.verdict])


def _evaluate(job: Any, trained: Any, pack: Any, **options: Any) -> Any:
    """Join the two apps: the trainer opens the models, the evaluator asks them."""
    from apps.eval.run import evaluate

    return evaluate(
        job.open_base, lambda: job.open_tuned(trained.adapter_dir, trained.manifest), pack, **options
    )


def _reachable(url: str) -> None:
    """Fail before training, not after it, when there is no registry at the address."""
    from registry.client import RegistryClient

    with RegistryClient(url) as registry:
        registry.search(limit=1)


def _push(result: "CompileResult", url: str, *, allow_failed: bool) -> str | None:
    from registry.client import RegistryClient

    if result.verdict != "PASS" and not allow_failed:
        note(f"not pushed: the gate says {result.verdict}; --push-failed pushes it all the same")
        return None
    with RegistryClient(url) as registry:
        registry.push(result.artifact, result.receipt, allow_failed=allow_failed)
    note(f"pushed   {url}")
    return url


class _Voice:
    """Tells the person at the terminal what is planned and how far things are, on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True)
        self._live = console.is_terminal
        self._tasks: dict[str, Any] = {}

    def planned(self, inputs: "Inputs", job: "Job") -> None:
        plan: Any = job.plan  # type: ignore[attr-defined]  # only this trainer's jobs are joined here
        held = inputs.validation.count if inputs.validation else 0
        asked_alone = any(not row.images for row in inputs.pack.rows)
        images = [f"{inputs.overlaps} images"] if job.sees_images else []
        questions = [f"{inputs.text_overlaps} questions without images"] if asked_alone else []
        both = " and ".join([*images, *questions])
        note(
            f"plan     {job.family}: {inputs.dataset.count} train, {held} validation, "
            f"{len(inputs.pack.rows)} eval rows; {both} in both"
        )
        for part in sorted({*plan.parts.values()}, key=PARTS.index):
            size, treatment = plan.elements(part), plan.treatments[part]
            extra = f" + {plan.added_to[part]:,} of LoRA" if treatment == "lora" else ""
            note(f"  {part:<10} {treatment:<7} {size:>14,} parameters{extra}")
        unpinned: str | None = job.base.note  # type: ignore[attr-defined]
        if unpinned:
            note(f"warning: {unpinned}")
        if inputs.overlaps or inputs.text_overlaps:
            note("warning: the eval pack asks what is trained on; the gate will fail (no_leak)")

    def training(self, step: int, steps: int, loss: float) -> None:
        self._advance("train", step, steps, f"loss {loss:.4f}")
        if not self._live:
            note(f"train    step {step}/{steps}  loss {loss:.4f}")

    def asking(self, model: str, done: int, rows: int) -> None:
        self._advance(f"ask {model}", done, rows, "")
        if not self._live and done == rows:
            note(f"eval     {model}: {rows} answers")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:  # elsewhere it would only print an empty line
            self._bars.stop()

    def _advance(self, name: str, done: int, total: int, text: str) -> None:
        if not self._live:
            return
        self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note="")
        self._bars.update(self._tasks[name], completed=done, note=text)


def _summary(result: "CompileResult") -> str:
    """The result in a few lines, failing conditions first."""
    k = result.k_score
    accuracy = k["accuracy"]
    axes = "  ".join(f"{name} {_number(axis['value'])}" for name, axis in k["axes"].items())
    lines = [
        _accuracy_line(accuracy),
        _gain_line(accuracy),
        f"K        {_with_interval(k)}   {axes}",
        f"gate     {result.verdict}",
        *(f"  {'ok  ' if c['ok'] else 'FAIL' if c['ok'] is False else 'n/a '} {c['id']:<18} "
          f"required {c['required']}, observed {c['observed']}"
          for c in sorted(k["gate"]["conditions"], key=lambda c: c["ok"] is not False)),
        *_left_out(result.metrics),
        f"wrote    {result.artifact}  {result.receipt.name}  {result.modules.name}",
        f"report   {result.report}",
        f"cid      {result.cid}",
    ]  # fmt: skip
    return "\n".join([*lines, f"next     kolm verify {result.artifact}"])


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


def _accuracy_line(accuracy: dict[str, Any]) -> str:
    kinds = [kind for kind in ("base", "tuned", "grey", "shuffled") if accuracy.get(kind)]
    return "eval     " + "   ".join(f"{kind} {_with_interval(accuracy[kind])}" for kind in kinds)


def _gain_line(accuracy: dict[str, Any]) -> str:
    gains = [("over base", accuracy["gain"]), ("over grey images", accuracy["image_gain"])]
    return "gain     " + "   ".join(f"{name} {_with_interval(gain)}" for name, gain in gains if gain)


def _with_interval(measured: dict[str, Any]) -> str:
    interval = measured.get("interval")
    span = f" [{_number(interval[0])}, {_number(interval[1])}]" if interval else ""
    return f"{_number(measured['value'])}{span}"


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.3f}"


def _document(result: "CompileResult", pushed: str | None) -> dict[str, Any]:
    return {
        "cid": result.cid,
        "artifact": str(result.artifact),
        "receipt": str(result.receipt),
        "modules": str(result.modules),
        "report": str(result.report),
        "verdict": result.verdict,
        "k_score": result.k_score,
        result.block: result.train_block,
        "pushed": pushed,
    }

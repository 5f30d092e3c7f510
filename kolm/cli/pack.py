"""`kolm pack`: eval packs from published data, into other harnesses, drawn, and looked at."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.console import command, emit, note
from kolm.cli.options import AsJson

if TYPE_CHECKING:
    from kolm.pack import EvalPack

app = typer.Typer(
    help="Make eval packs from published data, show them and export them.", no_args_is_help=True
)

PackPath = Annotated[Path, typer.Argument(help="A pack.yaml, or the folder that holds it.")]
DISCORDANT = 0.2
"""Share of the questions that base and tuned model are taken to answer differently, for the smallest gain."""


@app.command("import")
@command
def import_(
    source: Annotated[Path, typer.Argument(help="File or folder of a published data set.")],
    to: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    format_: Annotated[
        str, typer.Option("--format", help="Shape of the data, such as chartqa or cord; auto looks.")
    ] = "auto",
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures; else the file's.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of every slice, such as anls@1.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first rows only.")] = None,
    slice_: Annotated[str | None, typer.Option("--slice", help="Take one slice only.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What to ask where the data asks nothing.")] = None,
    partial: Annotated[bool, typer.Option(help="Leave refused rows out instead of stopping.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an eval pack of a published data set; rows that cannot be used are named (exit code 6)."""
    from apps.capture.packs import Wish, import_pack
    from kolm.pairs import told

    wish = Wish(format_, images, metric, limit, slice_, prompt, partial)
    made = import_pack(source, to, wish)
    if made.refusals:
        note(f"left out: {told(made.refusals)}")
    shown = _described(made.pack) | {"path": str(made.path), "format": made.source.name}
    shown["refused"] = len(made.refusals)
    lines = [f"{'wrote':<9}{made.path}, read as {made.source.title}", *_lines(shown)]
    emit(shown if as_json else "\n".join(lines), as_json=as_json)


@app.command("export")
@command
def export(
    pack: PackPath,
    to: Annotated[str, typer.Option(help="Harness: lmms-eval or inspect.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 32,
    as_json: AsJson = False,
) -> None:
    """Write an eval pack as a task of another harness, scored there by the same metrics."""
    from apps.capture.harnesses import export_pack

    task = export_pack(read_pack(pack), out, harness=to, max_new_tokens=max_new_tokens)
    text = f"wrote    {out}\ntask     {task}, of {to}"
    emit({"directory": str(out), "task": task, "harness": to} if as_json else text, as_json=as_json)


@app.command("show")
@command
def show(pack: PackPath, as_json: AsJson = False) -> None:
    """Say what an eval pack holds, and the smallest gain that it can show."""
    shown = _described(read_pack(pack))
    emit(shown if as_json else "\n".join(_lines(shown)), as_json=as_json)


@app.command("draw")
@command
def draw(
    kind: Annotated[str, typer.Argument(help="What is drawn: receipts or screens.")],
    to: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    rows: Annotated[int, typer.Option(min=1, help="Number of questions.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same pictures.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw pictures whose answers are known, as an eval pack."""
    from apps.capture.receipts import write_receipts
    from apps.capture.screens import write_screens
    from kolm.errors import SpecError

    kinds = {"receipts": write_receipts, "screens": write_screens}
    if kind not in kinds:
        raise SpecError(f"nothing draws {kind!r}", hint=f"kolm pack draw {' or '.join(kinds)}")
    kinds[kind](to, rows=rows, seed=seed)
    shown = _described(read_pack(to)) | {"path": str(to / "pack.yaml")}
    lines = [f"{'wrote':<9}{to / 'pack.yaml'}", *_lines(shown)]
    emit(shown if as_json else "\n".join(lines), as_json=as_json)


def read_pack(path: Path) -> "EvalPack":
    """Read the pack that a command names by its folder or its pack.yaml. Raises DataError."""
    from kolm.pack import load_pack

    return load_pack(path / "pack.yaml" if path.is_dir() else path)


def _described(pack: "EvalPack") -> dict[str, Any]:
    from kolm.intervals import detectable_gain
    from kolm.metrics import get_metric
    from kolm.scorecard import clusters

    independent = len(set(clusters(pack)))
    counts = Counter(row.slice for row in pack.rows)
    return {
        "name": pack.name,
        "version": pack.version,
        "digest": pack.digest,
        "rows": len(pack.rows),
        "slices": {
            name: {"metric": get_metric(part.metric).id, "rows": counts[name]}
            for name, part in pack.slices.items()
        },
        "images": len(pack.images),
        "groups": len({row.group for row in pack.rows if row.group is not None}),
        "cluster": pack.cluster,
        "clusters": independent,
        "withhold": pack.withhold,
        "detectable_gain": detectable_gain(independent, discordant=DISCORDANT),
    }


def _lines(shown: dict[str, Any]) -> list[str]:
    """Lay out what a pack holds for reading."""
    gain = shown["detectable_gain"]
    share = f"if {DISCORDANT:.0%} of the answers change"
    words = (
        f"none can be shown with so few questions, {share}"
        if gain is None
        else f"{100 * gain:.1f} points, the smallest that shows in 80 of 100 runs, {share}"
    )
    told = {
        "pack": f"{shown['name']}, version {shown['version']}",
        "digest": shown["digest"],
        "rows": shown["rows"],
        **{f"  {name}": f"{part['rows']} by {part['metric']}" for name, part in shown["slices"].items()},
        "pictures": f"{shown['images']}{', withheld from artifacts' if shown['withhold'] else ''}",
        "groups": shown["groups"],
        "clusters": f"{shown['clusters']}, by {shown['cluster']}",
        "gain": words,
    }
    wide = max(map(len, told)) + 1
    return [f"{name:<{wide}} {value}" for name, value in told.items()]

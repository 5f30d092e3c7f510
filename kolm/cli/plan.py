"""`kolm plan`: what a compile would freeze, train, need and refuse, without reading a weight."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.console import command, emit, note, require_extra
from kolm.cli.leaks import leak_lines
from kolm.cli.options import AsJson

if TYPE_CHECKING:
    from apps.trainer.estimate import Estimate
    from apps.trainer.preview import DetectableGain, Preview

_WIDTH = 110
_NAMED = 5
"""Rows and layers that are named before the rest is only counted."""


@command
def plan(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")],
    measure: Annotated[bool, typer.Option(help="Run two real steps and keep what they said.")] = False,
    show_row: Annotated[
        int | None, typer.Option(min=0, help="Show one training row decoded, by number from 0.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a compile would do: route, parts, sizes, memory, time, rows and leaks."""
    require_extra("torch", "train")
    from apps.trainer.draft import open_draft
    from apps.trainer.draft import show_row as decoded
    from apps.trainer.preview import preview
    from kolm.errors import DataError
    from kolm.inputs import read_inputs
    from kolm.spec import load_spec

    draft = open_draft(load_spec(spec))
    inputs = read_inputs(draft.job.loaded, sees_images=draft.job.sees_images)
    if show_row is not None:
        text, spans = decoded(draft, inputs, show_row)
        emit({"row": text, "supervised": spans} if as_json else _row(text, spans), as_json=as_json)
        return
    if measure:
        from apps.trainer.trial import run_trial

        note("measure  two optimizer steps on the longest rows")
        run_trial(draft, inputs)
        draft = open_draft(load_spec(spec))
    found = preview(draft, inputs)
    emit(found.document() if as_json else _page(found, spec), as_json=as_json)
    if found.refused:
        raise typer.Exit(DataError.exit_code)


def _page(found: "Preview", spec: Path) -> str:
    """The preview for a person, no line wider than a terminal."""
    return "\n".join(
        [
            *_route(found),
            *_parts(found),
            *_lists(found),
            *_sizes(found),
            *(_costs(found.estimate) if found.estimate else ["memory   unknown: no row can be encoded"]),
            *_rows(found),
            *_gain(found.detectable),
            *(line for text in leak_lines(found.leaks, spec) for line in _entry("leaks", text)),
            *_entry("open", ", ".join(_settings(found.resolved))),
        ]
    )


def _route(found: "Preview") -> list[str]:
    route = found.route
    sure = "" if route.verified else ", unverified"
    who = f"{route.family} ({route.trainer}): {route.model_class}, model_type {route.model_type}{sure}"
    origin = [route.model, *([route.revision] if route.revision else [])]
    origin.append(f"licence {route.licence or 'not stated'}")
    notes = [line for text in route.notes for line in _entry("note", text)]
    return [*_entry("route", who), *_entry("base", ", ".join(origin)), *notes]


def _parts(found: "Preview") -> list[str]:
    return [
        f"  {part.part:<10} {part.treatment:<7} {part.parameters:>16,} parameters"
        + (f", {part.trained:,} trained" if part.trained else "")
        for part in found.parts
    ]


def _lists(found: "Preview") -> list[str]:
    lists = found.lists
    lines = [*_entry("lora", f"{len(lists.targets)} layers")] if lists.targets else []
    lines += _entry("frozen", ", ".join(lists.frozen_modules))
    lines += _entry("trained", ", ".join(lists.trainable_modules))
    if lists.left_frozen:
        lines += _entry("left", f"frozen although its part is trained: {', '.join(lists.left_frozen)}")
    return lines


def _sizes(found: "Preview") -> list[str]:
    saved = found.saved
    header = f" + {saved.header_bytes:,} of header" if saved.header_bytes else ""
    size = f"{saved.parameters:,} parameters in {saved.tensors} tensors, {saved.tensor_bytes:,} bytes{header}"
    return [*_entry("saved", size), *_entry("serve", f"{found.servable_as}: {found.servable_why}")]


def _costs(cost: "Estimate") -> list[str]:
    without, with_ = (_gigabytes(each.total_bytes) for each in (cost.plain, cost.checkpointed))
    mark = "with" if cost.checkpointing else "without"
    lines = _entry(
        "memory",
        f"{without} at the peak, {with_} with gradient checkpointing; the spec is {mark}; on {cost.device}",
    )
    chosen = cost.checkpointed if cost.checkpointing else cost.plain
    pieces = [f"{k.removesuffix('_bytes')} {_gigabytes(v)}" for k, v in vars(chosen).items() if v]
    lines += _entry("", ", ".join(pieces))
    if cost.measured:
        lines += _entry(
            "", f"real steps took {cost.memory_factor:.2f} of that: {_gigabytes(cost.peak_bytes)}"
        )
    if cost.extent != "step":
        lines += _entry("", _EXTENTS[cost.extent])
    if not cost.device.startswith("cpu"):
        lines += _entry("", "0.6 GB of the GPU go to CUDA itself; attention without a table of all pairs")
    basis = "corrected by real steps" if cost.measured else "from this device's rate; --measure corrects it"
    time = f"{cost.steps} steps of {_seconds(cost.step_s)}, {_seconds(cost.steps * cost.step_s)} in all"
    return [*lines, *_entry("time", f"{time}; {basis}")]


_EXTENTS = {
    "language": "without the vision tower's own peak: its code asks for values that a plan has not",
    "formula": "estimated from shapes: the model cannot be built here",
}


def _rows(found: "Preview") -> list[str]:
    rows = found.rows
    if rows is None:
        return _entry("rows", "not encoded: the base's processor cannot be loaded here")
    lines = _entry("rows", f"{rows.train} train, {rows.validation} validation, {rows.evaluation} eval")
    for name, spread in (("tokens", rows.tokens), ("of images", rows.image_tokens)):
        lines.append(f"  {name:<10} {spread.least} to {spread.most}, median {spread.median:g}")
    for what, ids in (("truncated", rows.truncated), ("dropped", rows.dropped)):
        if ids:
            lines += _entry(what, _few(ids))
    for refusal in rows.refused[:_NAMED]:
        lines += _entry("refused", f"{refusal.reason}; {refusal.hint}")
    if len(rows.refused) > _NAMED:
        lines += _entry("", f"and {len(rows.refused) - _NAMED} more rows")
    return lines


def _gain(found: "DetectableGain") -> list[str]:
    """What the eval pack can show: the smallest gain, for all rows and for each slice."""
    split = f"if {found.discordant:.0%} of the answers are right in one model only"
    if found.pack.gain is None:
        told = f"none can be shown: {found.pack.rows} eval rows are too few for any gain, {split}"
        return _entry("gain", told)
    lines = _entry(
        "gain", f"{found.pack.gain:.3f} over the base is the least that shows in 8 of 10 runs, {split}"
    )
    for name, part in found.slices.items() if len(found.slices) > 1 else ():
        least = f"none, {part.rows} rows are too few" if part.gain is None else f"{part.gain:.3f}"
        lines.append(f"  {name:<10} {least}")
    return lines


def _settings(resolved: Any) -> list[str]:
    """Settings and what they became, nested ones in braces."""
    told = {**resolved, "stands": _unlike(resolved.get("stands") or {})}
    return [f"{key} {_value(value)}" for key, value in told.items() if value not in ({}, None)]


def _unlike(stands: Any) -> Any:
    """Only the names that stand for something other than themselves."""
    return {name: leaves for name, leaves in stands.items() if list(leaves) != [name]}


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
    return " ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


def _row(text: str, spans: Sequence[str]) -> str:
    return "\n".join([text, *(f"learned  {span!r}" for span in spans)])


def _entry(name: str, text: str) -> list[str]:
    """One entry, its further lines indented under the first."""
    lines = textwrap.wrap(text, _WIDTH - 9, break_on_hyphens=False) or [""]
    return [f"{name if i == 0 else '':<8} {line}" for i, line in enumerate(lines)]


def _few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)}: {', '.join(names[:_NAMED])}{rest}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

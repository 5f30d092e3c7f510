"""`kolm leaks`: what is both trained on and evaluated on, and which look-alikes wait for a person."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.console import command, emit, note
from kolm.cli.options import AsJson

if TYPE_CHECKING:
    from kolm.leaks import Leaks, NearDuplicate

_SHOWN = 20
"""Findings of each kind that are printed; the rest is counted."""


@command
def leaks(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")],
    out: Annotated[
        Path | None, typer.Option(help="Add the near duplicates that wait to this list, to be reviewed.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page that shows near duplicates side by side.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare training and validation rows with the eval pack of a spec, without its base.

    Exit code 6 when a picture, a declared group or a question without pictures is in both; else 0, also
    when near duplicates wait: they are for a person to look at.
    """
    from kolm.errors import DataError
    from kolm.files import write_atomic
    from kolm.inputs import read_leaks
    from kolm.review import extend_review
    from kolm.spec import load_spec

    sets, found = read_leaks(load_spec(spec))
    if out:
        added = extend_review(out, ((pair.pair, _told(pair)) for pair in found.waiting))
        note(f"wrote    {out}: {added} more pairs to review; name it as data.reviewed in the spec")
    if html:
        from kolm.report.lookalikes import lookalikes_html

        write_atomic(html, lookalikes_html(found, sets.trained_on, sets.pack).encode())
        note(f"wrote    {html}")
    emit(_document(found) if as_json else _page(found, spec), as_json=as_json)
    if found.exact:
        raise typer.Exit(DataError.exit_code)


def leak_lines(counts: Mapping[str, int], spec: Path) -> list[str]:
    """Say what is in both and which conditions of the gate fail, with the next step; `counts` of a spec."""
    exact = counts["pictures"] + counts["groups"] + counts["questions"]
    alike = "" if counts["found"] else ", and no two pictures look alike"
    lines = [f"none: no eval picture, group or question is trained on{alike}"]
    if exact:
        lines = [
            f"eval rows that are trained on: {counts['pictures']} by a picture, {counts['groups']} by a "
            f"group, {counts['questions']} by a question without pictures; the gate will fail (no_leak)"
        ]
    if counts["found"]:
        near = (
            f"{counts['found']} near duplicates, {counts['reviewed']} reviewed, {counts['waiting']} waiting"
        )
        lines.append(near + ("; the gate will fail (no_near_duplicate)" if counts["waiting"] else ""))
    if counts["waiting"]:
        beside = spec.parent / "reviewed.jsonl"
        lines.append(
            f"next: kolm leaks {spec} --out {beside}, then data.reviewed: reviewed.jsonl in the spec"
        )
    if counts["unused"]:
        lines.append(f"{counts['unused']} entries of the reviewed list are about no pair that was found")
    return lines


def _page(found: "Leaks", spec: Path) -> str:
    """Every finding for a person, the first ones of each kind in full."""
    pictures = [f"{each.kind}: {each.train_id} ({each.part}) and {each.eval_id}" for each in found.overlaps]
    near = [f"{_told(pair)}; {found.verdict(pair)}" for pair in found.near]
    return "\n".join(
        [
            *leak_lines(found.counts(), spec),
            *_listed("pictures in both", pictures),
            *_listed("eval rows of a group that is trained on", list(found.groups)),
            *_listed("questions in both", [f"{t.kind}: {t.train_id} and {t.eval_id}" for t in found.texts]),
            *_listed("near duplicates", near),
        ]
    )


def _listed(title: str, findings: list[str]) -> list[str]:
    rest = [f"  and {len(findings) - _SHOWN} more; --json prints all"] if len(findings) > _SHOWN else []
    return [title, *(f"  {line}" for line in findings[:_SHOWN]), *rest] if findings else []


def _told(pair: "NearDuplicate") -> str:
    rows = f"{_few(pair.train_ids)} and {_few(pair.eval_ids)}"
    return f"{pair.kind}, worst tile differs by {pair.difference:.3f}: {rows}"


def _few(ids: tuple[str, ...]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"


def _document(found: "Leaks") -> dict[str, Any]:
    return {
        "pictures": [vars(each) for each in found.overlaps],
        "groups": list(found.groups),
        "questions": [vars(each) for each in found.texts],
        "near_duplicates": [
            {
                **pair.pair._asdict(),
                "kind": pair.kind,
                "difference": pair.difference,
                "train_ids": list(pair.train_ids),
                "eval_ids": list(pair.eval_ids),
                "verdict": found.verdict(pair),
            }
            for pair in found.near
        ],
        "counts": found.counts(),
    }

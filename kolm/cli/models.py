"""`kolm models`: every family that has a trainer, and where a model id goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.console import command, emit
from kolm.cli.options import AsJson

if TYPE_CHECKING:
    from apps.trainer.families import Family


@command
def models(
    model: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Hub id, or the folder of a checkpoint.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the model families that can be compiled, or say which of them an id belongs to."""
    from apps.trainer.families import families, family_of

    if model is None:
        rows = [describe(family) for family in families()]
        emit({"models": rows} if as_json else "\n".join([HEADER, *map(_line, rows)]), as_json=as_json)
        return
    folder = Path(model)
    chosen = family_of(folder if folder.is_dir() else model)
    route = {"id": model, **describe(chosen)}
    emit(route if as_json else "\n".join(_route(route)), as_json=as_json)


def describe(family: "Family") -> dict[str, Any]:
    """Return what the table says of one family; `projector` is what is done to it by default."""
    projector = "frozen" if family.projector_inside_vision else "full"
    return {
        "family": family.name,
        "trainer": family.trainer,
        "model_types": list(family.model_types),
        "projector": projector if family.projector else None,
        "code": family.code,
        "checked": family.checked,
        "trained": family.labels != "drawn",
        "needs": list(family.needs),
        "papers": list(family.papers),
    }


COLUMNS = "{:<22} {:<8} {:<10} {:<13} {}"
HEADER = COLUMNS.format("family", "trainer", "projector", "code", "model types")


def _line(row: dict[str, Any]) -> str:
    names = ", ".join(row["model_types"])
    said = [f"needs {', '.join(row['needs'])}"] if row["needs"] else []
    if not row["checked"]:
        said.append("unverified")
    if not row["trained"]:
        said.append("cannot be trained")
    end = f"  ({'; '.join(said)})" if said else ""
    return COLUMNS.format(
        row["family"], row["trainer"], row["projector"] or "-", row["code"], f"{names}{end}"
    ).rstrip()


def _route(route: dict[str, Any]) -> list[str]:
    words = {
        "id": route["id"],
        "family": route["family"],
        "trainer": route["trainer"],
        "model types": ", ".join(route["model_types"]),
        "projector": f"{route['projector']} unless the spec says otherwise" if route["projector"] else "none",
        "code": CODE[route["code"]],
        "needs": ", ".join(route["needs"]) or "nothing more",
        "papers": ", ".join(route["papers"]),
    }
    if not route["trained"]:
        words["trainer"] = "none: its question is drawn on the image"
    paths = "verified" if route["checked"] else "unverified: never compared with a live model"
    return [f"{name:<12} {value}" for name, value in (words | {"paths": paths}).items()]


CODE = {
    "transformers": "transformers",
    "repository": "the model's repository: needs base.trust_remote_code: true and a pinned base.revision",
    "none": "none that transformers can load",
}
"""Whose code a model runs on, in words."""

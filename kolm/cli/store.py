"""`kolm push`, `kolm pull`, `kolm search`: artifacts to and from a registry."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kolm.cli.console import command, emit, note
from kolm.cli.options import AsJson, Registry
from kolm.visible import one_line

Patterns = Annotated[list[str] | None, typer.Option(help="Pattern over parameter names; may be repeated.")]


@command
def push(
    artifact: Annotated[Path, typer.Argument(help="The .kolm file.")],
    receipt: Annotated[Path, typer.Option(help="Its .receipt.json.")],
    registry: Registry,
    push_failed: Annotated[bool, typer.Option(help="Also if the gate's verdict is not PASS.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send an artifact and its receipt to a registry and print the CID.

    The proof that the registry logged the receipt is written beside the artifact.
    """
    stored = send(artifact, receipt, registry=registry, allow_failed=push_failed)
    emit(stored if as_json else stored["cid"], as_json=as_json)


def send(artifact: Path, receipt: Path, *, registry: str, allow_failed: bool) -> dict[str, Any]:
    """Push both files, write the proof that they were logged beside them, and return what was stored.

    Raises RegistryError, StorageError.
    """
    from kolm.cli.evidence import Found
    from kolm.files import write_atomic
    from registry.client import RegistryClient

    with RegistryClient(registry) as client:
        stored = client.push(artifact, receipt, allow_failed=allow_failed)
        proof = client.proof(stored["cid"], receipt=stored["receipt"])
    if proof is None:
        note("warning: the registry gave no proof that it logged the receipt")
    else:
        write_atomic(Found.beside(artifact).proof, proof)
    return stored


@command
def pull(
    cid: Annotated[str, typer.Argument(help="CID of the artifact.")],
    registry: Registry,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    overwrite: Annotated[bool, typer.Option(help="Replace files that have other content.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch an artifact, its newest receipt, its log proof and its module manifest by CID."""
    from registry.client import RegistryClient

    with RegistryClient(registry) as client:
        paths = client.pull(cid, out=out, overwrite=overwrite)
    found = (
        ("artifact", paths.artifact),
        ("receipt", paths.receipt),
        ("modules", paths.modules),
        ("proof", paths.proof),
    )
    files = {part: str(path) for part, path in found if path is not None}
    emit(files if as_json else "\n".join(files.values()), as_json=as_json)


@command
def search(
    registry: Registry,
    base: Annotated[str | None, typer.Option(help="Model id, or its last part.")] = None,
    family: Annotated[str | None, typer.Option(help="Model family.")] = None,
    name: Annotated[str | None, typer.Option(help="Name in the spec.")] = None,
    frozen: Patterns = None,
    trainable: Patterns = None,
    min_k: Annotated[float | None, typer.Option(min=0, max=1, help="Smallest K.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most artifacts to list.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the artifacts of a registry, newest first: by base, by what was frozen and trained, by K."""
    from registry.client import RegistryClient

    with RegistryClient(registry) as client:
        items = client.search(
            base=base,
            family=family,
            name=name,
            frozen=frozen,
            trainable=trainable,
            min_k=min_k,
            limit=limit,
        )
    if as_json:
        emit({"items": items}, as_json=True)
    elif items:
        emit("\n".join(_line(item) for item in items))
    else:
        note("no artifact matches")


def _line(item: dict[str, Any]) -> str:
    k = "-" if item["k"] is None else f"{item['k']:.3f}"
    said = f"{item['verdict']:<12}  {item['name']}  {item['base']}  {item['created']}"
    return one_line(f"{item['cid']}  K {k}  {said}")

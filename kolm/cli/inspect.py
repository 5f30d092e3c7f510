"""`kolm inspect`: what an artifact or a receipt says of itself, without believing it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.console import command, emit, note
from kolm.cli.evidence import locate
from kolm.cli.options import AsJson, FromRegistry
from kolm.errors import CheckedError
from kolm.visible import one_line

if TYPE_CHECKING:
    from kolm.artifact import Artifact
    from kolm.receipt import Receipt

_ZIP = b"PK"


@command
def inspect(
    target: Annotated[
        str, typer.Argument(metavar="ARTIFACT|CID|RECEIPT", help="A .kolm file, a CID, or a receipt.")
    ],
    registry: FromRegistry = None,
    as_json: AsJson = False,
) -> None:
    """Show what an artifact or a receipt says; `kolm verify` says whether it is true."""
    with locate(target, registry=registry) as found:
        document = describe(found.artifact)
        if found.cid is not None:
            document |= {"signed": describe(found.receipt)}
    emit(document if as_json else as_text(document), as_json=as_json)
    note("not verified: `kolm verify` checks signatures and claims")


def describe(path: Path) -> dict[str, Any]:
    """Return what a file says, told apart by its first bytes. Raises ArtifactError, VerificationError."""
    from kolm.artifact import Artifact
    from kolm.files import open_for_reading, read_bytes
    from kolm.receipt import MAX_BYTES, Receipt

    with open_for_reading(path, what="file") as handle:
        is_artifact = handle.read(len(_ZIP)) == _ZIP
    if is_artifact:
        return _artifact(Artifact.open(path))
    data = read_bytes(path, what="receipt", max_bytes=MAX_BYTES)
    try:
        return _receipt(Receipt.parse(data))
    except CheckedError as err:
        message = f"{path} is neither an artifact nor a receipt: {err.message}"
        raise type(err)(message, check=err.check, hint=err.hint) from err


def as_text(document: dict[str, Any], *, indent: str = "") -> str:
    """Return nested values as `name: value` lines; nothing in them can steer a terminal."""
    lines = []
    for name, value in document.items():
        label = f"{indent}{one_line(str(name))}:"
        if isinstance(value, dict):
            lines += [label, as_text(value, indent=f"{indent}  ")]
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            lines += [label, *(f"{indent}  - {_inline(item)}" for item in value)]
        elif isinstance(value, list):
            lines.append(f"{label} {_inline(value)}")
        else:
            lines.append(f"{label} {one_line(str(value))}")
    return "\n".join(line for line in lines if line)


def _inline(value: Any) -> str:
    """Return a list or a flat dict on one line."""
    items = (
        (f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else (str(item) for item in value)
    )
    return one_line(", ".join(items))


def _artifact(artifact: "Artifact") -> dict[str, Any]:
    manifest, modules, lock = artifact.manifest, artifact.modules, artifact.lock
    base = manifest.base
    sizes = {member.path: member.bytes for member in manifest.members if member.role != "image"}
    return {
        "kind": manifest.kind,
        "cid": artifact.cid,
        "name": manifest.name,
        "task": manifest.task,
        "family": manifest.family,
        "base": {"model": base.model, "revision": base.revision, "licence": base.licence},
        "parameters": {"frozen": len(modules.frozen), "trainable": len(modules.trainable)},
        "parts": {part: "+".join(states) for part, states in modules.part_states().items()},
        "frozen_modules": modules.frozen_modules,
        "trainable_modules": modules.trainable_modules,
        "seed": lock.seed.model_dump(),
        "metrics": lock.metrics,
        "versions": lock.versions,
        "members": sizes | {"eval/images/": sum(m.bytes for m in manifest.members if m.role == "image")},
    }


def _receipt(receipt: "Receipt") -> dict[str, Any]:
    from kolm.statements import COMPILE

    statements = {statement.predicate_type: statement.predicate for statement in receipt.unverified()}
    signers = {_keyid(envelope) for envelope in receipt.envelopes}
    document: dict[str, Any] = {
        "kind": "kolm-receipt/1",
        "cid": receipt.cid,
        "artifact": receipt.artifact,
        "keyids": sorted(signers),
        "statements": list(statements),
    }
    compiled = statements.get(COMPILE)
    if compiled is not None:
        claims = compiled.model_dump(exclude_unset=True)
        timings = claims.pop("timings")
        document |= claims | {"timings": {name: f"{len(values)} values" for name, values in timings.items()}}
    return document


def _keyid(envelope: Any) -> str:
    signatures = envelope.get("signatures") if isinstance(envelope, dict) else None
    first = signatures[0] if isinstance(signatures, list) and signatures else None
    return str(first.get("keyid")) if isinstance(first, dict) else "none"

"""`kolm verify`: the numbered list of specs/formats/verification.md, one line for each check."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kolm.cli.bars import Bars
from kolm.cli.console import command, emit, loading, note
from kolm.cli.evidence import (
    Found,
    Seen,
    check_log_files,
    last_seen,
    locate,
    read_proof,
    read_receipt,
    trust_folder,
)
from kolm.cli.options import AsJson, FromRegistry, TrustCode
from kolm.container import ahead
from kolm.errors import CheckedError, KolmError, SpecError
from kolm.visible import one_line

if TYPE_CHECKING:
    from kolm.report.audit import Asked
    from kolm.trust import TrustStore
    from kolm.verify import AuditReport, Check, Replay

NOT_VERIFIED = 7
"""Exit code for an artifact or receipt that is unreadable, wrong or against policy."""

ReceiptFile = Annotated[
    Path | None, typer.Option(help="Its receipt; the .receipt.json beside it by default.")
]
ProofFile = Annotated[
    Path | None, typer.Option(help="Proof that a log holds it; the .proof beside it by default.")
]
CheckpointFile = Annotated[
    Path | None,
    typer.Option(
        help="The log's checkpoint that you saw last: no proof may be older.",
        show_default="the one that kolm log kept",
    ),
]
TrustDir = Annotated[
    Path | None, typer.Option(help="Whose signatures count.", show_default="$KOLM_HOME/trust")
]
Rows = Annotated[
    str | None, typer.Option(metavar="N|all", help="Rows to ask again at level 1.", show_default="59")
]
Nonce = Annotated[
    str | None, typer.Option(metavar="HEX", help="Draws the rows of level 1.", show_default="random")
]
PackPath = Annotated[Path | None, typer.Option(help="The eval pack, if the artifact withholds its pictures.")]
PageFile = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Also write the outcome as a page to print.")
]


@command
def verify(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT|CID", help="A .kolm file, or its CID.")],
    receipt: ReceiptFile = None,
    proof: ProofFile = None,
    checkpoint: CheckpointFile = None,
    trust: TrustDir = None,
    registry: FromRegistry = None,
    base: Annotated[Path | None, typer.Option(help="Folder of the base: its weights are compared.")] = None,
    level: Annotated[int, typer.Option(min=0, max=2, help="0: recompute; 1: ask the models again.")] = 0,
    rows: Rows = None,
    nonce: Nonce = None,
    pack: PackPath = None,
    trust_code: TrustCode = False,
    report: PageFile = None,
    as_json: AsJson = False,
) -> None:
    """Check an artifact and its receipt against the keys you trust.

    Level 0 needs no torch and no network; level 1 asks the models some of the questions again.

    A proof is compared with the checkpoint that `kolm log` kept; with --checkpoint, no older one counts.
    """
    from kolm.trust import TrustStore

    replay_options = {"--rows": rows, "--nonce": nonce, "--pack": pack, "--trust-code": trust_code or None}
    _check_call(level, base, report, replay_options=replay_options)
    store = TrustStore.open(trust_folder(trust, option="--trust"))
    check_log_files(proof, checkpoint, known=store.log is not None)
    seen = last_seen(checkpoint, store.log)
    if seen is not None and checkpoint is None:
        note(f"log seen {seen.path}")
    with locate(artifact, registry=registry) as beside, Bars() as bars:
        found = replace(beside, receipt=receipt or beside.receipt, proof=proof or beside.proof)

        def asking() -> "Replay":
            from kolm.cli.replay import replay

            return replay(rows, nonce, pack, base=base, trust_code=trust_code, bars=bars)

        audit = _audit(found, store, seen, base=base, asking=asking if level else None)
        if report is not None:
            _write_page(audit, report, asked=_asked(audit, found, registry, seen, base, store))
    emit(audit.to_json(trust=store) if as_json else as_text(audit), as_json=as_json)
    if audit.failure is not None:
        if audit.failure.hint and not as_json:
            note(f"hint: {audit.failure.hint}")
        raise typer.Exit(NOT_VERIFIED)


def _check_call(
    level: int, base: Path | None, page: Path | None, *, replay_options: Mapping[str, object]
) -> None:
    """Refuse what this version cannot do, and options that would have no effect.

    Raises SpecError, StorageError.
    """
    if level > 1:
        raise SpecError(
            f"level {level} is not supported yet", hint="level 1 asks the models again, level 0 needs none"
        )
    idle = [name for name, value in replay_options.items() if value is not None]
    if level == 0 and idle:
        raise SpecError(f"{idle[0]} is for level 1", hint="add --level 1")
    if base is not None and not base.is_dir():
        raise SpecError(f"no folder at {base}", hint="--base names the folder of the base model")
    if page is not None:
        _check_page(page)


def _check_page(path: Path) -> None:
    """Refuse the name of an input, and a folder that is not there. Raises SpecError, StorageError."""
    from kolm.errors import StorageError

    if path.suffix.lower() not in (".html", ".htm"):
        raise SpecError(f"--report {path} does not end in .html", hint="give the page a name like audit.html")
    if not path.parent.is_dir():
        raise StorageError(
            f"cannot write {path}: there is no folder {path.parent}", hint="make the folder first"
        )


def _audit(
    found: Found,
    store: "TrustStore",
    seen: Seen | None,
    *,
    base: Path | None,
    asking: "Callable[[], Replay] | None",
) -> "AuditReport":
    """Run the list over the files at hand. Raises what `asking` and the replay raise."""
    opening = ahead.opening(found.artifact)  # it is read while the rest is loaded
    with loading():
        from kolm.receipt import MAX_BYTES
        from kolm.tlog.note import MAX_BYTES as NOTE_BYTES
        from kolm.verify import verify_bundle

    receipt = read_receipt(found.receipt, limit=MAX_BYTES)
    proof = read_proof(found.proof, limit=2 * NOTE_BYTES)
    held = b"" if isinstance(proof, KolmError) else proof
    audit = verify_bundle(
        opening,
        receipt if isinstance(receipt, bytes) else None,
        store,
        expected_cid=found.cid,
        base_dir=base,
        proof=held,
        seen=seen.bearing_on(held) if seen else None,
        replay=asking() if asking else None,
    )
    return _naming(audit, receipt, proof)


def _asked(
    audit: "AuditReport",
    found: Found,
    registry: str | None,
    seen: Seen | None,
    base: Path | None,
    store: "TrustStore",
) -> "Asked":
    """Gather what the page says of the call; also a file that is no container is named by its bytes."""
    from kolm.cid import cid_of_file
    from kolm.report.audit import Asked

    def place(path: Path) -> str:
        fetched = registry is not None and path.parent == found.artifact.parent
        return f"{path.name} from {registry}" if fetched else str(path)

    return Asked(
        artifact=place(found.artifact),
        cid=audit.artifact or (cid_of_file(found.artifact) if found.artifact.is_file() else None),
        receipt=place(found.receipt),
        proof=place(found.proof) if found.proof.exists() else None,
        checkpoint=str(seen.path) if seen else None,
        base=str(base) if base else None,
        trust=store,
    )


def _write_page(audit: "AuditReport", path: Path, *, asked: "Asked") -> None:
    """Write the outcome as a page. Raises StorageError."""
    from kolm.files import write_atomic
    from kolm.report.audit import audit_page

    write_atomic(path, audit_page(audit, asked).encode())
    note(f"report   {path}")


def as_text(report: "AuditReport") -> str:
    """Return a report as numbered lines and the verdict; nothing in it can steer a terminal."""
    lines = [_line(check) for check in report.checks]
    failure = report.failure
    if failure is not None:
        closing = f"NOT VERIFIED: check {failure.number} ({failure.id}) {failure.code}: {failure.detail}"
    else:
        closing = f"VERIFIED {report.artifact} signed by {', '.join(report.keys)}; gate {report.verdict}"
    return "\n".join(one_line(line) for line in [*lines, closing])


def _line(check: "Check") -> str:
    evidence = "" if check.evidence == "absent" else check.evidence
    return (
        f"{check.number:>2}  {check.code or check.status:<18} {evidence:<11}  {check.title}: {check.detail}"
    )


def _naming(
    report: "AuditReport", receipt: bytes | KolmError, proof: bytes | KolmError | None
) -> "AuditReport":
    """Say in checks 3 and 19 which file could not be read, and why."""
    told: dict[str, tuple[str, str, str]] = {}
    if isinstance(receipt, KolmError):
        code = receipt.check if isinstance(receipt, CheckedError) else "E_IO"
        hint = receipt.hint or "get it from the publisher, pass it with --receipt"
        told["E_SIG_MISSING"] = (code, receipt.message, hint)
    if isinstance(proof, KolmError):
        told["E_NOTE_SYNTAX"] = ("E_NOTE_SYNTAX", proof.message, proof.hint)
    checks = list(report.checks)
    for at, check in enumerate(checks):
        if check.code in told:
            code, detail, hint = told[check.code]
            checks[at] = replace(check, code=code, detail=detail, hint=hint)
    return replace(report, checks=tuple(checks))

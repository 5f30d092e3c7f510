"""`kolm verify`: the numbered list of specs/formats/verification.md, one line for each check."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kolm.cli.bars import Bars
from kolm.cli.console import command, emit, loading, note, require_extra
from kolm.cli.evidence import Found, Seen, check_log_files, last_seen, locate, read_evidence, trust_folder
from kolm.cli.options import AsJson, TrustCode
from kolm.cli.pack import read_pack
from kolm.container import Container
from kolm.errors import CheckedError, KolmError, SpecError, VerificationError
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
    """
    from kolm.trust import TrustStore

    _check_call(
        level,
        replay_options={"--rows": rows, "--nonce": nonce, "--pack": pack, "--trust-code": trust_code or None},
    )
    if base is not None and not base.is_dir():
        raise SpecError(f"no folder at {base}", hint="--base names the folder of the base model")
    if report is not None:
        _check_page(report)
    store = TrustStore.open(trust_folder(trust, option="--trust"))
    check_log_files(proof, checkpoint, known=store.log is not None)
    seen = last_seen(checkpoint, store.log)
    with locate(artifact, registry=registry) as beside, Bars() as bars:
        found = replace(beside, receipt=receipt or beside.receipt, proof=proof or beside.proof)
        opening = Container.begin(found.artifact)  # it is read while the rest is loaded
        with loading():
            from kolm.receipt import MAX_BYTES
            from kolm.tlog.note import MAX_BYTES as NOTE_BYTES
            from kolm.verify import verify_bundle

        said = read_evidence(found.receipt, what="receipt", limit=MAX_BYTES)
        logged = read_evidence(found.proof, what="log proof", limit=2 * NOTE_BYTES)
        audit = verify_bundle(
            opening,
            said if isinstance(said, bytes) else None,
            store,
            expected_cid=found.cid,
            base_dir=base,
            proof=b"" if isinstance(logged, KolmError) else logged,
            seen=seen.note if seen else None,
            replay=_replay(rows, nonce, pack, base=base, trust_code=trust_code, bars=bars) if level else None,
        )
        if not isinstance(said, bytes):
            audit = _without_receipt(audit, found.receipt, said, given=receipt is not None)
        if isinstance(logged, KolmError):
            audit = _naming(audit, "E_NOTE_SYNTAX", logged, hint="get it again from the registry's log")
        if report is not None:
            _write_page(audit, report, asked=_asked(found, registry, seen, base, store))
    emit(audit.to_json() if as_json else as_text(audit), as_json=as_json)
    if audit.failure is not None:
        if audit.failure.hint and not as_json:
            note(f"hint: {audit.failure.hint}")
        raise typer.Exit(NOT_VERIFIED)


def _check_page(path: Path) -> None:
    """Refuse the name of an input, and a folder that is not there. Raises SpecError, StorageError."""
    from kolm.errors import StorageError

    if path.suffix.lower() not in (".html", ".htm"):
        raise SpecError(f"--report {path} does not end in .html", hint="give the page a name like audit.html")
    if not path.parent.is_dir():
        raise StorageError(
            f"cannot write {path}: there is no folder {path.parent}", hint="make the folder first"
        )


def _asked(
    found: Found, registry: str | None, seen: Seen | None, base: Path | None, store: "TrustStore"
) -> "Asked":
    """Gather what the page says of the call; also a file that is no container is named by its bytes."""
    from kolm.cid import cid_of_file
    from kolm.report.audit import Asked

    def place(path: Path) -> str:
        fetched = registry is not None and path.parent == found.artifact.parent
        return f"{path.name} from {registry}" if fetched else str(path)

    return Asked(
        artifact=place(found.artifact),
        cid=cid_of_file(found.artifact) if found.artifact.is_file() else None,
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


def _check_call(level: int, *, replay_options: dict[str, object]) -> None:
    """Refuse what this version cannot do, and options that would have no effect. Raises SpecError."""
    if level > 1:
        raise SpecError(
            f"level {level} is not supported yet", hint="level 1 asks the models again, level 0 needs none"
        )
    idle = [name for name, value in replay_options.items() if value is not None]
    if level == 0 and idle:
        raise SpecError(f"{idle[0]} is for level 1", hint="add --level 1")


def _replay(
    rows: str | None,
    nonce: str | None,
    pack: Path | None,
    *,
    base: Path | None,
    trust_code: bool,
    bars: Bars,
) -> "Replay":
    """Join the two apps for level 1: the trainer opens an artifact's models, the evaluator asks them.

    Raises SpecError for what is misspelt, TrainError without torch, DataError.
    """
    from functools import partial

    from kolm.verify import Replay

    count, drawn_by, whole = _rows(rows), _nonce(nonce), read_pack(pack) if pack else None
    require_extra("torch", "train")
    from apps.eval.replay import ModelReplayer
    from apps.trainer.pair import ModelPair, environment_for

    note(f"nonce    {drawn_by.hex()}: the same rows again with --nonce")
    opened = partial(ModelPair.open, base=base, trust_code=trust_code)
    return Replay(ModelReplayer(opened, environment_for, progress=bars.asking), drawn_by, count, whole)


def _rows(text: str | None) -> int | None:
    """Read `--rows`; None is all of them. Raises SpecError."""
    from kolm.verify import ROWS

    if text is None or text == "all":
        return ROWS if text is None else None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise SpecError(f"--rows {text[:20]!r} is not a number of rows", hint="give a number from 1, or all")
    return int(text)


def _nonce(text: str | None) -> bytes:
    """Read `--nonce`, or draw one. Raises SpecError."""
    try:
        drawn_by = secrets.token_bytes(16) if text is None else bytes.fromhex(text)
    except ValueError:
        drawn_by = b""
    if not 8 <= len(drawn_by) <= 64:
        raise SpecError(
            f"--nonce {(text or '')[:40]!r} is not 8 to 64 bytes in hex digits",
            hint="leave it out for a random one, which is printed",
        )
    return drawn_by


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


def _without_receipt(
    report: "AuditReport", path: Path, error: KolmError | None, *, given: bool
) -> "AuditReport":
    """Say in check 3 which file was looked for, and why it is no receipt."""
    error = error or VerificationError(f"there is no file {path}", check="E_SIG_MISSING")
    hint = (
        "check the path given with --receipt"
        if given
        else "get it from the publisher, pass it with --receipt"
    )
    code = error.check if isinstance(error, CheckedError) else "E_IO"
    return _naming(report, "E_SIG_MISSING", error, code=code, hint=hint)


def _naming(
    report: "AuditReport", failed: str, error: KolmError, *, hint: str, code: str | None = None
) -> "AuditReport":
    """Say in the check that failed with a code what is wrong with the file it was to read."""
    told = {"code": code or failed, "detail": error.message, "hint": error.hint or hint}
    checks = (replace(check, **told) if check.code == failed else check for check in report.checks)
    return replace(report, checks=tuple(checks))

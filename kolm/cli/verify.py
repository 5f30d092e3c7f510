"""`kolm verify`: the numbered list of specs/formats/verification.md, one line for each check."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kolm.cli.bars import Bars
from kolm.cli.console import command, emit, note, require_extra
from kolm.cli.pack import read_pack
from kolm.errors import SpecError
from kolm.visible import printable

if TYPE_CHECKING:
    from kolm.verify import AuditReport, Check, Replay

NOT_VERIFIED = 7
"""Exit code for an artifact or receipt that is unreadable, wrong or against policy."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Registry = Annotated[str | None, typer.Option(help="Where to fetch a CID from.")]
ReceiptFile = Annotated[
    Path | None, typer.Option(help="Its receipt; the .receipt.json beside it by default.")
]
ProofFile = Annotated[
    Path | None, typer.Option(help="Proof that a log holds it; the .proof beside it by default.")
]
CheckpointFile = Annotated[
    Path | None, typer.Option(help="The log's checkpoint that you saw last: no proof may be older.")
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


@dataclass(frozen=True)
class Found:
    """An artifact on this disk, where its receipt and proof should be, and the CID it was asked for by."""

    artifact: Path
    receipt: Path
    proof: Path
    cid: str | None = None

    @classmethod
    def beside(cls, artifact: Path, cid: str | None = None, receipt: Path | None = None) -> "Found":
        """Return an artifact with the receipt and the proof that lie beside it."""
        stem = artifact.name.removesuffix(".kolm")
        receipt = receipt or artifact.with_name(f"{stem}.receipt.json")
        return cls(artifact, receipt, artifact.with_name(f"{stem}.proof"), cid)


@command
def verify(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT|CID", help="A .kolm file, or its CID.")],
    receipt: ReceiptFile = None,
    proof: ProofFile = None,
    checkpoint: CheckpointFile = None,
    trust: TrustDir = None,
    registry: Registry = None,
    base: Annotated[Path | None, typer.Option(help="Folder of the base: its weights are compared.")] = None,
    level: Annotated[int, typer.Option(min=0, max=2, help="0: recompute; 1: ask the models again.")] = 0,
    rows: Rows = None,
    nonce: Nonce = None,
    pack: PackPath = None,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run the base's own Python code.")] = False,
    report: PageFile = None,
    as_json: AsJson = False,
) -> None:
    """Check an artifact and its receipt against the keys you trust.

    Level 0 needs no torch and no network; level 1 asks the models some of the questions again.
    """
    from kolm.receipt import MAX_BYTES
    from kolm.tlog.note import MAX_BYTES as NOTE_BYTES
    from kolm.trust import TrustStore, default_trust_dir
    from kolm.verify import verify_bundle

    _check_call(level, replay_options={"--rows": rows, "--nonce": nonce, "--pack": pack})
    if base is not None and not base.is_dir():
        raise SpecError(f"no folder at {base}", hint="--base names the folder of the base model")
    store = TrustStore.open(trust or default_trust_dir())
    _check_log_files(proof, checkpoint, known=store.log is not None)
    with locate(artifact, registry=registry) as found, Bars() as bars:
        audit = verify_bundle(
            found.artifact,
            _read(receipt or found.receipt, what="receipt", limit=MAX_BYTES),
            store,
            expected_cid=found.cid,
            base_dir=base,
            proof=_read(proof or found.proof, what="proof", limit=2 * NOTE_BYTES),
            seen=_read(checkpoint, what="checkpoint", limit=NOTE_BYTES) if checkpoint else None,
            replay=_replay(rows, nonce, pack, base=base, trust_code=trust_code, bars=bars) if level else None,
        )
    if receipt is not None and not receipt.exists():
        audit = _naming(audit, receipt)
    if report is not None:
        _write_page(audit, report)
    emit(audit.to_json() if as_json else as_text(audit), as_json=as_json)
    if audit.failure is not None:
        if audit.failure.hint and not as_json:
            note(f"hint: {audit.failure.hint}")
        raise typer.Exit(NOT_VERIFIED)


def _check_log_files(proof: Path | None, checkpoint: Path | None, *, known: bool) -> None:
    """Refuse files that were named and are not there, or that nothing could be made of. Raises SpecError."""
    for option, path in (("--proof", proof), ("--checkpoint", checkpoint)):
        if path is not None and not path.is_file():
            raise SpecError(f"no file at {path}", hint=f"{option} names a file of the log's")
        if path is not None and not known:
            raise SpecError(f"{option} needs a log to trust", hint="kolm key trust --log VKEY")


def _write_page(audit: "AuditReport", path: Path) -> None:
    """Write the outcome as a page. Raises StorageError."""
    from kolm.files import write_atomic
    from kolm.report.audit import audit_page

    write_atomic(path, audit_page(audit).encode())
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


@contextmanager
def locate(artifact: str, *, registry: str | None) -> Iterator[Found]:
    """Yield the files of a path, or of a CID fetched into a folder that is gone afterwards.

    Raises SpecError when there is neither, RegistryError.
    """
    path = Path(artifact)
    if path.exists():
        yield Found.beside(path)
        return
    cid = _cid(artifact)
    if registry is None:
        raise SpecError("a CID alone does not say where to find it", hint="add --registry URL")
    from registry.client import RegistryClient

    with tempfile.TemporaryDirectory(prefix="kolm-") as folder, RegistryClient(registry) as client:
        paths = client.pull(cid, out=Path(folder))
        yield Found.beside(paths.artifact, cid, paths.receipt)


def as_text(report: "AuditReport") -> str:
    """Return a report as numbered lines and the verdict; nothing in it can steer a terminal."""
    lines = [_line(check) for check in report.checks]
    failure = report.failure
    if failure is not None:
        closing = f"NOT VERIFIED: check {failure.number} ({failure.id}) {failure.code}: {failure.detail}"
    else:
        closing = f"VERIFIED {report.artifact} signed by {', '.join(report.keys)}; gate {report.verdict}"
    return "\n".join(one_line(line) for line in [*lines, closing])


def one_line(text: str) -> str:
    """Return text from a file as one harmless line."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _line(check: "Check") -> str:
    evidence = "" if check.evidence == "absent" else check.evidence
    return (
        f"{check.number:>2}  {check.code or check.status:<18} {evidence:<11}  {check.title}: {check.detail}"
    )


def _cid(text: str) -> str:
    from kolm.cid import parse_cid
    from kolm.errors import ArtifactError

    try:
        return parse_cid(text)
    except ArtifactError as err:
        raise SpecError(
            f"{text!r} is neither a file nor a CID", hint="give the path of a .kolm file"
        ) from err


def _naming(report: "AuditReport", missing: Path) -> "AuditReport":
    """Say of a receipt that was named and is not there which file was looked for."""
    detail, hint = f"there is no file {missing}", "check the path given with --receipt"
    checks = [
        replace(check, detail=detail, hint=hint) if check.code == "E_SIG_MISSING" else check
        for check in report.checks
    ]
    return replace(report, checks=tuple(checks))


def _read(path: Path, *, what: str, limit: int) -> bytes | None:
    """Return a file's bytes; one that is not there is for its check to report."""
    from kolm.files import read_bytes

    return read_bytes(path, what=what, max_bytes=limit) if path.exists() else None

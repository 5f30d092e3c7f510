"""`kolm verify`: the numbered list of specs/formats/verify.md, one line for each check."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kolm.cli.bars import Bars
from kolm.cli.console import command, emit, note, printable, require_extra
from kolm.cli.pack import read_pack
from kolm.errors import SpecError

if TYPE_CHECKING:
    from kolm.verify import AuditReport, Check, Replay

NOT_VERIFIED = 7
"""Exit code for an artifact or receipt that is unreadable, wrong or against policy."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Registry = Annotated[str | None, typer.Option(help="Where to fetch a CID from.")]


@dataclass(frozen=True)
class Found:
    """An artifact on this disk, where its receipt should be, and the CID it was asked for by."""

    artifact: Path
    receipt: Path
    cid: str | None = None


@command
def verify(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT|CID", help="A .kolm file, or its CID.")],
    receipt: Annotated[
        Path | None, typer.Option(help="Its receipt; the .receipt.json beside it by default.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Whose signatures count.", show_default="$KOLM_HOME/trust")
    ] = None,
    registry: Registry = None,
    base: Annotated[Path | None, typer.Option(help="Folder of the base: its weights are compared.")] = None,
    level: Annotated[int, typer.Option(min=0, max=2, help="0: recompute; 1: ask the models again.")] = 0,
    rows: Annotated[
        str | None, typer.Option(metavar="N|all", help="Rows to ask again at level 1.", show_default="59")
    ] = None,
    nonce: Annotated[
        str | None, typer.Option(metavar="HEX", help="Draws the rows of level 1.", show_default="random")
    ] = None,
    pack: Annotated[
        Path | None, typer.Option(help="The eval pack, if the artifact withholds its pictures.")
    ] = None,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run the base's own Python code.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check an artifact and its receipt against the keys you trust.

    Level 0 needs no torch and no network; level 1 asks the models some of the questions again.
    """
    from kolm.receipt import MAX_BYTES
    from kolm.trust import TrustStore, default_trust_dir
    from kolm.verify import verify_bundle

    _check_call(level, replay_options={"--rows": rows, "--nonce": nonce, "--pack": pack})
    if base is not None and not base.is_dir():
        raise SpecError(f"no folder at {base}", hint="--base names the folder of the base model")
    store = TrustStore.open(trust or default_trust_dir())
    with locate(artifact, registry=registry) as found, Bars() as bars:
        report = verify_bundle(
            found.artifact,
            _read(receipt or found.receipt, limit=MAX_BYTES),
            store,
            expected_cid=found.cid,
            base_dir=base,
            replay=_replay(rows, nonce, pack, base=base, trust_code=trust_code, bars=bars) if level else None,
        )
    if receipt is not None and not receipt.exists():
        report = _naming(report, receipt)
    emit(report.to_json() if as_json else as_text(report), as_json=as_json)
    if report.failure is not None:
        if report.failure.hint and not as_json:
            note(f"hint: {report.failure.hint}")
        raise typer.Exit(NOT_VERIFIED)


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
        yield Found(path, path.with_name(f"{path.name.removesuffix('.kolm')}.receipt.json"))
        return
    cid = _cid(artifact)
    if registry is None:
        raise SpecError("a CID alone does not say where to find it", hint="add --registry URL")
    from registry.client import RegistryClient

    with tempfile.TemporaryDirectory(prefix="kolm-") as folder, RegistryClient(registry) as client:
        paths = client.pull(cid, out=Path(folder))
        yield Found(paths.artifact, paths.receipt, cid)


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


def _read(path: Path, *, limit: int) -> bytes | None:
    """Return a receipt's bytes; one that is not there is for check 3 to report."""
    from kolm.files import read_bytes

    return read_bytes(path, what="receipt", max_bytes=limit) if path.exists() else None

"""The files that an audit is made of: where they lie, and what to say of those that are not there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kolm.errors import ArtifactError, CheckedError, KolmError, SpecError, VerificationError

if TYPE_CHECKING:
    from kolm.tlog.note import NoteKey

_LOG_FILES = {
    "--proof": "--proof names the .proof file that `kolm pull` and `kolm push` write",
    "--checkpoint": "--checkpoint names a checkpoint of the log; `kolm log` keeps the last and says where",
}


@dataclass(frozen=True)
class Found:
    """An artifact on this disk, where its receipt and proof should be, and the CID it was asked for by."""

    artifact: Path
    receipt: Path
    proof: Path
    cid: str | None = None

    @classmethod
    def beside(cls, artifact: Path, cid: str | None = None, receipt: Path | None = None) -> Self:
        """Return an artifact with the receipt and the proof that lie beside it."""
        stem = artifact.name.removesuffix(".kolm")
        receipt = receipt or artifact.with_name(f"{stem}.receipt.json")
        return cls(artifact, receipt, artifact.with_name(f"{stem}.proof"), cid)


@dataclass(frozen=True)
class Seen:
    """A checkpoint of a log that its auditor has seen, and the file that holds it."""

    path: Path
    note: bytes
    named: bool
    """Whether the auditor asks for it with `--checkpoint`, rather than `kolm log` having kept it."""

    def bearing_on(self, proof: bytes | None) -> bytes | None:
        """Return the checkpoint if this proof may be compared with it.

        What `kolm log` kept is silent about proofs from before: the log has grown since they were handed out.
        """
        from kolm.tlog.checkpoint import Checkpoint
        from kolm.tlog.note import Note
        from kolm.tlog.proof import LogProof

        if self.named or proof is None:
            return self.note
        try:
            theirs = Checkpoint.parse(Note.parse(LogProof.parse(proof).checkpoint).text)
        except CheckedError:  # check 19 says what is wrong with it
            return None
        return self.note if theirs.size >= Checkpoint.parse(Note.parse(self.note).text).size else None


@contextmanager
def locate(artifact: str, *, registry: str | None) -> Iterator[Found]:
    """Yield the files of a path, or of a CID fetched into a folder that is gone afterwards.

    A file whose name is a CID is held to it. Raises SpecError when there is neither, RegistryError.
    """
    path, cid = Path(artifact), _cid(artifact)
    if cid is None or registry is None:
        _check_path(artifact, is_cid=cid is not None, registry=registry)
        yield Found.beside(path, cid)
        return
    from registry.client import RegistryClient

    with tempfile.TemporaryDirectory(prefix="kolm-") as folder, RegistryClient(registry) as client:
        paths = client.pull(cid, out=Path(folder))
        yield Found.beside(paths.artifact, cid, paths.receipt)


def _cid(text: str) -> str | None:
    from kolm.cid import parse_cid

    try:
        return parse_cid(text)
    except ArtifactError:
        return None


def _check_path(text: str, *, is_cid: bool, registry: str | None) -> None:
    """Refuse what is not a file's path. Raises SpecError."""
    path, hint = Path(text), "give the path of a .kolm file"
    if text and path.is_dir():
        raise SpecError(f"{text!r} is a folder", hint=hint)
    if not (text and path.exists()):
        if is_cid:
            raise SpecError("a CID alone does not say where to find it", hint="add --registry URL")
        raise SpecError(f"{text!r} is neither a file nor a CID", hint=hint)
    if registry is not None:
        raise SpecError(
            f"{text!r} is a file: nothing is asked of --registry", hint="leave it out, or name a CID"
        )


def trust_folder(given: Path | None, *, option: str) -> Path:
    """Return the trust directory to read; one that is named must be there. Raises SpecError."""
    from kolm.trust import default_trust_dir

    if given is not None and not given.is_dir():
        raise SpecError(
            f"no folder at {given}",
            hint=f"{option} names a trust directory; `kolm key trust KEY.pem --dir DIR` makes one",
        )
    return given or default_trust_dir()


def check_log_files(proof: Path | None, checkpoint: Path | None, *, known: bool) -> None:
    """Refuse files that were named and are not there, or that nothing could be made of. Raises SpecError."""
    for option, path in (("--proof", proof), ("--checkpoint", checkpoint)):
        if path is not None and not path.is_file():
            raise SpecError(f"no file at {path}", hint=_LOG_FILES[option])
        if path is not None and not known:
            raise SpecError(f"{option} needs a log to trust", hint="kolm key trust --log VKEY")


def last_seen(given: Path | None, log: "NoteKey | None") -> Seen | None:
    """Return the checkpoint to compare proofs with: the one named, else the one that `kolm log` kept.

    Raises SpecError for a file that holds no checkpoint of this log, StorageError.
    """
    if log is None:
        return None
    from kolm.files import read_bytes
    from kolm.tlog.checkpoint import Checkpoint
    from kolm.tlog.note import MAX_BYTES
    from kolm.tlog.seen import logs_folder, seen_path

    path = given or seen_path(logs_folder(), log.name)
    if not os.path.lexists(path):
        return None
    try:
        note = read_bytes(path, what="checkpoint", max_bytes=MAX_BYTES)
        Checkpoint.open(note, log)
    except CheckedError as err:
        kept = "has log.vkey changed? without that file, a log that was set back goes unnoticed"
        raise SpecError(
            f"{path}, the checkpoint of this log that was seen last, cannot be used: {err.message}",
            hint=_LOG_FILES["--checkpoint"] if given else kept,
        ) from err
    return Seen(path, note, named=given is not None)


def read_receipt(path: Path, *, limit: int) -> bytes | KolmError:
    """Return the receipt, or what is wrong with its file: check 3 tells."""
    found = _evidence(path, what="receipt", limit=limit)
    return VerificationError(f"there is no file {path}", check="E_SIG_MISSING") if found is None else found


def read_proof(path: Path, *, limit: int) -> bytes | KolmError | None:
    """Return the log's proof, if there is one, or what is wrong with its file: check 19 tells."""
    return _evidence(path, what="log proof", limit=limit)


def _evidence(path: Path, *, what: str, limit: int) -> bytes | KolmError | None:
    from kolm.files import read_bytes

    try:
        return read_bytes(path, what=what, max_bytes=limit) if os.path.lexists(path) else None
    except KolmError as err:
        return err

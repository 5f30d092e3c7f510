"""Reading a registry's log and believing none of it: proofs, consistency with what was seen, entries.

What a log once signed and later contradicts is kept as evidence: two notes with one log's signature that
cannot both be true.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from kolm.cid import CID, sha256_hex
from kolm.entries import receipt_entry
from kolm.errors import CheckedError, RegistryError, VerificationError
from kolm.files import make_folder, read_bytes, write_atomic
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import check_consistency, check_inclusion, consistency_proof, inclusion_proof, leaf_hash
from kolm.tlog.note import MAX_BYTES, Note, NoteKey
from kolm.tlog.proof import LogProof
from kolm.tlog.seen import seen_path
from kolm.tlog.tiles import MAX_ENTRY, WIDTH, Fetch, TileReader, read_entries

MAX_TILE_BYTES = WIDTH * (2 + MAX_ENTRY)
"""A full bundle of entries, each with its length and as long as entries may be."""


def check_proof(data: bytes, *, artifact: CID, receipt: CID) -> None:
    """Check that a proof is about this receipt; whose log it is, only verification asks.

    Raises RegistryError.
    """
    try:
        proof = LogProof.parse(data)
        signed = Checkpoint.parse(Note.parse(proof.checkpoint).text)
        leaf = leaf_hash(receipt_entry(artifact, receipt))
        check_inclusion(leaf, index=proof.index, size=signed.size, proof=proof.hashes, root=signed.root)
    except CheckedError as err:
        raise RegistryError(
            f"the registry sent a log proof that is not about this receipt: {err.message}",
            hint="do not use it; tell whoever runs the registry",
        ) from err


@dataclass(frozen=True)
class LogReader:
    """A log at its newest checkpoint: signed by its key, and no contradiction of the one seen before."""

    fetch: Fetch
    checkpoint: Checkpoint
    note: bytes
    seen: Checkpoint | None

    @classmethod
    def open(cls, fetch: Fetch, key: NoteKey, *, logs: Path) -> "LogReader":
        """Read the newest checkpoint, compare it with the last one seen, and keep it in `logs`.

        Raises VerificationError E_LOG_ROLLBACK, E_LOG_EQUIVOCATION, E_LOG_CONSISTENCY, E_LOG_TILE, and both
        notes are in `logs` then; E_LOG_KEY, E_NOTE_SIG, E_LOG_ORIGIN; ArtifactError E_NOTE_SYNTAX;
        RegistryError, StorageError.
        """
        note = fetch("checkpoint")
        if note is None:
            raise RegistryError("there is no log at this address", hint="is it the address of a registry?")
        checkpoint = Checkpoint.open(note, key)
        path = seen_path(logs, key.name)
        before = read_bytes(path, what="checkpoint", max_bytes=MAX_BYTES) if path.exists() else None
        seen = _opened(before, key, path) if before is not None else None
        if before is not None and seen is not None:
            proof: list[bytes] = []
            try:
                if 0 < seen.size < checkpoint.size:
                    reader = TileReader(fetch, checkpoint.size)
                    proof = consistency_proof(seen.size, checkpoint.size, reader)
                _compare(seen, checkpoint, proof)
            except CheckedError as err:
                growth = _growth(seen.size, proof) + note if proof else b""
                _keep_evidence(err, path, before, note, growth)
        make_folder(logs)
        write_atomic(path, note)
        return cls(fetch, checkpoint, note, seen)

    def entries(self, begin: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield index and bytes of each entry from `begin` on, once it is shown to be under the root.

        Raises VerificationError (E_LOG_INCLUSION), ArtifactError (E_LOG_TILE), RegistryError.
        """
        size, root = self.checkpoint.size, self.checkpoint.root
        tiles = TileReader(self.fetch, size)
        for index, entry in enumerate(read_entries(self.fetch, begin, size, size=size), start=begin):
            proof = inclusion_proof(index, size, tiles)
            check_inclusion(leaf_hash(entry), index=index, size=size, proof=proof, root=root)
            yield index, entry


def _growth(size: int, proof: Sequence[bytes]) -> bytes:
    """Return the proof that a log grew from `size` entries as witnesses get it (c2sp.org/tlog-witness)."""
    hashes = "".join(f"{base64.b64encode(found).decode()}\n" for found in proof)
    return f"old {size}\n{hashes}\n".encode()


def _opened(before: bytes, key: NoteKey, path: Path) -> Checkpoint:
    """Read the checkpoint kept in `path`. Raises VerificationError, which names it."""
    try:
        return Checkpoint.open(before, key)
    except CheckedError as err:
        raise VerificationError(
            f"{path}, the checkpoint of this log that was seen last, cannot be used: {err.message}",
            check=err.check,
            hint="has log.vkey changed? without that file, a log that was set back goes unnoticed",
        ) from err


def _compare(seen: Checkpoint, offered: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that a log only grew. Raises VerificationError."""
    if offered.size < seen.size:
        raise VerificationError(
            f"the log was set back: {offered.size} entries where {seen.size} were seen",
            check="E_LOG_ROLLBACK",
        )
    if offered.size == seen.size:
        if offered.root != seen.root:
            raise VerificationError(
                f"the log shows two faces: two roots for {seen.size} entries", check="E_LOG_EQUIVOCATION"
            )
        return
    if seen.size:
        check_consistency(seen.size, seen.root, offered.size, offered.root, proof=proof)


def _keep_evidence(err: CheckedError, seen: Path, before: bytes, note: bytes, growth: bytes) -> NoReturn:
    """Write both notes, and what was to lead from one to the other; the last one seen stays what it was."""
    name = f"{seen.stem[:16]}-{sha256_hex(before + note)[:16]}"
    folder = make_folder(seen.parent / "evidence" / name)
    write_atomic(folder / "seen.checkpoint", before)
    write_atomic(folder / "offered.checkpoint", note)
    if growth:
        write_atomic(folder / "growth", growth)
    raise VerificationError(
        err.message,
        check=err.check,
        hint=f"both notes are in {folder}; show them to others who read this log",
    ) from err

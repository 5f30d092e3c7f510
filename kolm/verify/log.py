"""Check 19: the registry's log holds this receipt; and what that is worth to a key that was revoked later."""

from dataclasses import dataclass

from kolm.entries import receipt_entry
from kolm.errors import CheckedError, VerificationError
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.note import Note, NoteKey
from kolm.tlog.proof import LogProof
from kolm.verify.case import CLOCK_SKEW, Case, Finding, require

_DAY = 86_400
_ASK = "`kolm pull` fetches it from the registry; `require_log: false` in policy.yaml does without one."
_FETCH = "Get the proof again: `kolm pull` fetches it from the registry."


@dataclass(frozen=True)
class Logged:
    """Where the log holds the receipt, by which checkpoint."""

    index: int
    checkpoint: Checkpoint


def log(case: Case) -> Finding:
    """(19) The log whose key is trusted holds the entry of this artifact and receipt."""
    key = case.trust.log
    if case.proof is None or key is None:
        missing = "there is no proof" if case.proof is None else "no log is trusted here (log.vkey)"
        require(
            not case.trust.policy.require_log,
            f"{missing}; this trust directory wants one",
            check="E_POLICY",
            hint=_ASK if case.proof is None else "Trust the log with `kolm key trust --log VKEY`.",
        )
        return Finding(missing, "absent", done=False)
    found = _held(case, case.proof, key)
    _check_age(case, found.checkpoint)
    if case.seen is not None:
        _check_progress(found.checkpoint, seen=_last_seen(case.seen, key))
    return Finding(f"entry {found.index} of {found.checkpoint.size} in {found.checkpoint.origin}")


def _last_seen(note: bytes, key: NoteKey) -> Checkpoint:
    """Read the checkpoint that the auditor kept; what is wrong with it is not the proof's fault."""
    try:
        return Checkpoint.open(note, key)
    except CheckedError as err:
        raise type(err)(f"the checkpoint seen last: {err.message}", check=err.check, hint=err.hint) from err


def log_index(case: Case) -> int | None:
    """Return where the trusted log holds the receipt; None if nothing shows that it does."""
    if case.proof is None or case.trust.log is None:
        return None
    try:
        return _held(case, case.proof, case.trust.log).index
    except CheckedError:
        return None


def _held(case: Case, proof: bytes, key: NoteKey) -> Logged:
    """Find the entry in the log.

    Raises ArtifactError (E_NOTE_SYNTAX), VerificationError (E_LOG_KEY, E_NOTE_SIG, E_LOG_ORIGIN,
    E_LOG_INCLUSION, E_LOG_LEAF, E_LOG_STALE).
    """
    entry = receipt_entry(case.artifact.cid, case.receipt.cid)
    found = LogProof.parse(proof)
    try:
        return Logged(found.index, found.check(entry, key))
    except VerificationError as err:
        if err.check == "E_LOG_INCLUSION" and _fits(found):
            raise VerificationError(
                f"the proof of entry {found.index} is not of this artifact and receipt, or was changed",
                check="E_LOG_LEAF",
                hint=_FETCH,
            ) from err
        raise


def _fits(proof: LogProof) -> bool:
    """Say whether a proof has as many hashes as a proof of its index in its tree has (RFC 9162 2.1.3.1)."""
    size = Checkpoint.parse(Note.parse(proof.checkpoint).text).size
    if proof.index >= size:
        return False
    shared = (proof.index ^ (size - 1)).bit_length()
    return len(proof.hashes) == shared + (proof.index >> shared).bit_count()


def _check_age(case: Case, checkpoint: Checkpoint) -> None:
    """A log that shows old checkpoints may hide what came later, revocations among it."""
    allowed = case.trust.policy.log_max_age_days
    if allowed is None:
        return
    seconds = case.now.timestamp() - (checkpoint.time or 0)
    require(seconds >= -CLOCK_SKEW.total_seconds(), "the checkpoint is from the future", check="E_LOG_STALE")
    require(
        seconds <= allowed * _DAY,
        f"the checkpoint is {seconds / _DAY:.1f} days old; this trust directory takes {allowed:g}",
        check="E_LOG_STALE",
        hint=_FETCH,
    )


def _check_progress(checkpoint: Checkpoint, *, seen: Checkpoint) -> None:
    """The log has not become smaller, nor another one of the same size."""
    require(
        checkpoint.size >= seen.size,
        f"the proof is from a log of {checkpoint.size} entries, after one of {seen.size} was seen",
        check="E_LOG_ROLLBACK",
        hint=_FETCH,
    )
    require(
        checkpoint.size > seen.size or checkpoint.root == seen.root,
        f"the log showed two trees of {seen.size} entries",
        check="E_LOG_EQUIVOCATION",
        hint="Keep both checkpoints: they are evidence against the log.",
    )

"""Verification: the numbered list of specs/formats/verification.md, run over bytes, without torch or network.

    report = verify_bundle(Path("x.kolm"), receipt_bytes, TrustStore.open(trust_dir))
    report.ok, report.failure, report.verdict

Each check is one function that cites its number. It establishes something or raises; a check whose
prerequisite did not hold is skipped, so the first failure is the reason and the rest is what else is wrong.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from kolm.container import Container
from kolm.errors import CheckedError, DataError, EvalError, KolmError, SpecError, StorageError, TrainError
from kolm.trust import TrustStore
from kolm.verify import bundle, inputs, log, model, replay, scores, training
from kolm.verify.case import Case, Finding
from kolm.verify.replayer import ROWS, Replay, Replayed, Replayer, Said
from kolm.verify.report import AuditReport, Check, Evidence, Status

__all__ = [
    "CHECKS",
    "ROWS",
    "AuditReport",
    "Check",
    "Evidence",
    "Replay",
    "Replayed",
    "Replayer",
    "Said",
    "Status",
    "Step",
    "verify_bundle",
]


@dataclass(frozen=True)
class Step:
    """One entry of the list: its number, its name, and the checks that must not have failed before it."""

    number: int
    id: str
    title: str
    run: Callable[[Case], Finding]
    needs: tuple[int, ...] = ()
    raises: tuple[type[KolmError], ...] = ()
    """Errors about the auditor's machine or call: they say nothing about the artifact, and are raised."""


CHECKS = (
    Step(1, "container", "the artifact is a strict container with this CID", bundle.container),
    Step(2, "members", "its members are those its manifest lists", bundle.members, (1,)),
    Step(3, "receipt", "there is a receipt and it can be read", bundle.receipt),
    Step(4, "subject", "the receipt is about this artifact", bundle.subject, (1, 3)),
    Step(5, "signatures", "trusted keys signed every envelope", bundle.signatures, (3,)),
    Step(6, "statements", "every statement has a known type and a closed schema", bundle.statements, (5,)),
    Step(7, "stages", "the stages form one chain that ends in this artifact", bundle.stages, (2, 4, 6)),
    Step(8, "agreement", "the statements agree with each other", bundle.agreement, (2, 4, 7)),
    Step(9, "spec", "the lock resolves the spec", inputs.spec, (2, 4, 7)),
    Step(10, "modules", "the module lists are exact", model.modules, (2, 4, 7)),
    Step(11, "adapter", "the adapter holds exactly what was trained", model.adapter, (2,)),
    Step(12, "frozen", "what was frozen did not change", model.frozen, (2,)),
    Step(13, "base", "the base is the one named", inputs.base, (2,)),
    Step(14, "training-log", "the training log commits to these inputs", training.training_log, (2,)),
    Step(15, "holdout", "no eval picture was trained on", scores.holdout, (2,)),
    Step(16, "scores", "scores, K and verdict follow from the outputs", scores.scores, (2, 4, 7)),
    Step(17, "policy", "the auditor's policy is met", scores.policy, (7,)),
    Step(
        18,
        "replay",
        "outputs drawn by the auditor are what the model says",
        replay.replay,
        tuple(range(1, 18)),
        (SpecError, TrainError, EvalError, StorageError),
    ),
    Step(19, "log", "the registry's log holds this receipt", log.log, (1, 3, 4)),
)
"""The list, in order; the numbers are those of specs/formats/verification.md 2."""

_CODES: tuple[tuple[type[KolmError], str], ...] = (
    (DataError, "E_EVAL_PACK"),
    (SpecError, "E_SPEC_PARSE"),
    (StorageError, "E_IO"),
)
"""Codes for errors that carry none, by class."""


def verify_bundle(
    artifact: Path | Future[Container],
    receipt: bytes | None,
    trust: TrustStore,
    *,
    expected_cid: str | None = None,
    base_dir: Path | None = None,
    replay: Replay | None = None,
    proof: bytes | None = None,
    seen: bytes | None = None,
    now: datetime | None = None,
    stop_at_first: bool = False,
) -> AuditReport:
    """Run every check over an artifact and its receipt; a bad bundle gives a report, never an exception.

    `artifact` is a file, or one that `Container.begin` is reading already.
    `proof` is the text that shows the receipt in the log, `seen` the checkpoint of that log seen last.
    With `stop_at_first` the checks after a failed one are skipped: nothing is computed for strangers.
    Only `replay`, which asks the models again, can fail for want of something here: then it raises
    SpecError, TrainError, EvalError or StorageError.
    """
    case = Case(
        artifact, receipt, trust, expected_cid, base_dir, now or datetime.now(UTC), replay, proof, seen
    )
    checks: list[Check] = []
    try:
        for step in CHECKS:
            checks.append(_outcome(step, case, checks, stop_at_first=stop_at_first))
        return _report(case, checks)
    finally:
        if hasattr(case, "artifact"):
            case.artifact.container.close()


def _outcome(step: Step, case: Case, earlier: list[Check], *, stop_at_first: bool) -> Check:
    unmet = [number for number in step.needs if earlier[number - 1].evidence == "absent"]
    if stop_at_first:
        unmet += [check.number for check in earlier if check.status == "failed"]
    if unmet:
        detail = f"not made, because check {unmet[0]} did not pass"
        return Check(step.number, step.id, step.title, "skipped", "absent", None, detail)
    try:
        found = step.run(case)
    except step.raises:
        raise
    except KolmError as err:
        return Check(step.number, step.id, step.title, "failed", "absent", _code(err), err.message, err.hint)
    status: Status = "passed" if found.done else "skipped"
    return Check(step.number, step.id, step.title, status, found.evidence, None, found.detail)


def _disowned(check: Check) -> Check:
    """Say of what would be the signer's word that nobody who is trusted signed it."""
    if check.evidence != "signed only":
        return check
    detail = f"{check.detail}; the word of nobody who is trusted"
    return replace(check, evidence="absent", detail=detail)


def _code(err: KolmError) -> str:
    if isinstance(err, CheckedError):
        return err.check
    return next((code for kind, code in _CODES if isinstance(err, kind)), "E_INTERNAL")


def _report(case: Case, checks: list[Check]) -> AuditReport:
    passed = {check.number for check in checks if check.status == "passed"}
    signed = {4, 6, 7} <= passed
    return AuditReport(
        artifact=case.artifact.cid if hasattr(case, "artifact") else None,
        receipt=case.receipt.cid if 3 in passed else None,
        keys=tuple(sorted({opened.keyid for opened in case.opened})) if 5 in passed else (),
        checks=tuple(check if signed else _disowned(check) for check in checks),
        at=case.now,
        policy=case.trust.policy,
        compile=case.compile if signed else None,
        replayed=case.replayed,
    )

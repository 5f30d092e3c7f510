"""Checks 15 to 17: train and eval apart, every score computed again, and the auditor's own policy."""

from datetime import datetime

from kolm.canonical import canonical_json
from kolm.errors import VerificationError
from kolm.instants import read_instant
from kolm.overlaps import exact_overlaps, shared_groups
from kolm.scorecard import score_artifact
from kolm.verify.case import CLOCK_SKEW, Case, Finding, require
from kolm.verify.log import log_index

_LEAK_HINT = "Scores on rows that were trained on say nothing; do not rely on this artifact."


def holdout(case: Case) -> Finding:
    """(15) No picture and no declared group of the eval pack is one of the training or validation set.

    Questions without pictures cannot be compared by anyone but the signer.
    """
    trained_on = case.train_set.model_dump()
    overlaps = exact_overlaps(trained_on, case.pack)
    if overlaps:
        first = overlaps[0]
        raise VerificationError(
            f"{len(overlaps)} eval rows were trained on, first {first.eval_id} (as {first.train_id})",
            check="E_HOLDOUT_LEAK",
            hint=_LEAK_HINT,
        )
    groups = shared_groups(trained_on, case.pack)
    if groups:
        raise VerificationError(
            f"{len(groups)} eval rows are of a group that was trained on, first {groups[0]}",
            check="E_HOLDOUT_LEAK",
            hint=_LEAK_HINT,
        )
    rows, asked = len(case.train_set.rows), case.pack.rows
    compared = f"{rows} training rows against {len(asked)} eval rows; near duplicates are the signer's word"
    if case.pack.missing:
        hidden = f"{len(case.pack.missing)} pictures are withheld, their digests are the signer's word"
        return Finding(f"{compared}; {hidden}", "signed only")
    blank = sum(not row.images for row in asked)
    if not blank:
        return Finding(compared)
    # Texts are committed to under a key that is never published (specs/formats/set.md 3).
    alone = f"{blank} questions without pictures are not comparable, the gate has the signer's count"
    return Finding(f"{compared}; {alone}", "recomputed" if blank < len(asked) else "signed only")


def scores(case: Case) -> Finding:
    """(16) Extraction, metric, K, interval, axes and verdict follow from the stored outputs."""
    compiled = case.compile
    stated, alike = compiled.k_score, compiled.data.near_duplicates
    _check_cost(case)
    computed = score_artifact(
        case.artifact,
        timings=[timing.model_dump() for timing in compiled.timings.rows],
        attempts=stated.attempts,
        near_duplicates=alike.waiting if alike else None,
        text_overlaps=compiled.data.text_overlaps,
        pack=case.pack,
    )
    for member, value in stated.model_dump().items():
        require(
            canonical_json(computed[member]) == canonical_json(value),
            f"k_score.{member} is not what the stored outputs give",
            check="E_KSCORE",
            hint="The receipt claims a score that its own artifact does not support.",
        )
    low, high = stated.interval or (None, None)
    return Finding(
        f"K {stated.value} [{low}, {high}], verdict {stated.gate.verdict}; "
        "outputs, timings, attempts and near duplicates signed only"
    )


def _check_cost(case: Case) -> None:
    """The parameter counts behind axis C are those of the module manifest."""
    modules, cost = case.artifact.modules, case.artifact.lock.cost
    added = modules.size("vision", "projector", "language", "audio", "head", added=True)
    counted = (
        modules.size("language", "head", added=False),
        added,
        modules.size("vision", "projector", added=False),
    )
    locked = (cost.language_params, cost.added_params, cost.vision_params)
    require(locked == counted, "the lock's parameter counts are not the module manifest's", check="E_KSCORE")


def policy(case: Case) -> Finding:
    """(17) The signing keys were valid, and the verdict is one this trust directory accepts."""
    finished = read_instant(case.compile.finished)
    require(finished <= case.now + CLOCK_SKEW, "the receipt was finished in the future", check="E_POLICY")
    _check_artifact_stands(case)
    for keyid in sorted({opened.keyid for opened in case.opened}):
        _check_window(case, keyid, finished)
    verdict = case.compile.k_score.gate.verdict
    require(
        not case.trust.policy.require_pass or verdict == "PASS",
        f"the gate's verdict is {verdict}; this trust directory wants PASS",
        check="E_POLICY",
        hint="policy.yaml in the trust directory sets require_pass.",
    )
    return Finding("keys valid at the signed time, nothing revoked that bears on this")


def _check_artifact_stands(case: Case) -> None:
    """A revoked artifact counts for nothing: every receipt of it was made before."""
    if revocation := case.trust.revoked(case.receipt.artifact):
        raise VerificationError(
            f"the artifact is revoked: {revocation.reason}",
            check="E_REVOKED",
            hint="Ask the publisher for the artifact that replaced it.",
        )


def _check_window(case: Case, keyid: str, finished: datetime) -> None:
    """A revoked key counts for what the log held before, and no more: the signer's times prove nothing."""
    if revocation := case.trust.revoked(keyid):
        index, revoking = log_index(case), revocation.log
        hint = "Ask the publisher for a receipt made with the key that replaced it."
        if revoking is not None and (index is None or revoking != case.trust.log):
            hint = (
                f"What the log {revoking.name} held before entry {revocation.index} counts: "
                "trust that log, and give its proof with --proof."
            )
        require(
            revocation.spares(index, log=case.trust.log),
            f"key {keyid} is revoked: {revocation.reason}",
            check="E_REVOKED",
            hint=hint,
        )
    require(
        case.trust.key(keyid).valid_at(finished),
        f"key {keyid} was not trusted at {case.compile.finished}, when the receipt was finished",
        check="E_KEY_UNTRUSTED",
        hint="Its file in the trust directory says from when until when it counts.",
    )

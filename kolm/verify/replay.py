"""Check 18: the auditor draws rows, has the models asked again, and compares what they say with the artifact.

The rows follow from the artifact and the auditor's nonce, so nobody could know them before the artifact was
signed. Whoever opens the models is an argument: this module compares, and runs none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kolm.answers import Answer
from kolm.artifact import Artifact
from kolm.draws import replayed_rows
from kolm.errors import SpecError, VerificationError
from kolm.metrics import get_metric
from kolm.pack import EvalPack
from kolm.scorecard import EvalRow, Output, metric_of, read_rows
from kolm.verify.case import Case, Finding, require
from kolm.verify.replayer import Agreement, Mismatch, Replay, Replayed, Replayer

_SHOWN = 80
"""Most characters of an output that a message repeats."""

_COUNTS = ("prompt_tokens", "image_tokens", "patches")
"""What a row says of its question, as the tuned model was asked it."""


def replay(case: Case) -> Finding:
    """(18) What the models say to rows drawn by the auditor is what the artifact stores.

    Raises VerificationError (E_REPLAY), SpecError when the pictures are withheld and no pack was given,
    and whatever keeps the models' owner from asking them.
    """
    asked = case.replay
    if asked is None:
        return Finding("not asked for; replayable with --level 1", "signed only", done=False)
    pack = _pack_to_show(case, asked)
    stored = {row.id: row for row in read_rows(case.artifact, pack=case.pack)}
    count = len(stored) if asked.rows is None else asked.rows
    drawn = replayed_rows(case.artifact.cid, asked.nonce, list(stored), count)
    case.replayed = _begin(case, asked, drawn)
    _compare_all(case.replayed, case.artifact, asked.models, pack, [stored[row_id] for row_id in drawn])
    return _finding(case.replayed, of=len(stored))


def _pack_to_show(case: Case, asked: Replay) -> EvalPack:
    """Return the pack with its pictures: the artifact's own, or the one given for it. Raises SpecError."""
    if asked.pack is not None:
        if asked.pack.digest != case.pack.digest:
            raise SpecError(
                f"the pack {asked.pack.name} is not the one this artifact was scored on",
                hint=f"give --pack the pack whose digest is {case.pack.digest}",
            )
        _check_pixels(asked.pack, case)
        return asked.pack
    if case.pack.missing:
        raise SpecError(
            "the artifact withholds the pictures of its eval pack, so its models cannot be asked again",
            hint="whoever has the pack can: give it with --pack DIR",
        )
    return case.pack


def _check_pixels(pack: EvalPack, case: Case) -> None:
    """Compare the pixels of the pictures with what check 15 had to take the signer's word for."""
    told = case.pack.gallery
    odd = next((cid for cid in pack.images if pack.gallery.pixels(cid) != told.pixels(cid)), None)
    require(
        odd is None, f"the picture {odd} has other pixels than the artifact says", check="E_MEMBER_DIGEST"
    )


def _begin(case: Case, asked: Replay, drawn: list[str]) -> Replayed:
    """Note what was drawn, and how far this machine is from the receipt's."""
    here, told = asked.models.environment(case.artifact), case.compile.evaluation
    differences = list(_differences(case.compile.environment, here))
    if told is not None and told.batch > 1 and not told.differing:
        differences.append(f"batch was {told.batch}, here 1")
    allowed = case.trust.policy.replay_mismatch if differences else 0.0
    return Replayed(asked.nonce.hex(), drawn, differences, allowed)


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Name the members in which this machine is not the one of the receipt."""
    for name, mine in here.items():
        told = there.get(name)
        if isinstance(mine, Mapping):
            yield from _differences(told if isinstance(told, Mapping) else {}, mine)
        elif mine != told:
            yield f"{name} was {str(told)[:_SHOWN]}, here {mine}"


def _compare_all(
    outcome: Replayed, artifact: Artifact, models: Replayer, pack: EvalPack, stored: Sequence[EvalRow]
) -> None:
    """Have every output of the drawn rows asked for again, and compare each as it comes."""
    drawn, rows = {row.id: row for row in stored}, {row.id: row for row in pack.rows}
    kinds = list(stored[0].outputs)
    due = {(row.id, str(kind)): output for row in stored for kind, output in row.outputs.items()}
    for said in models.answers(artifact, pack, [rows[row_id] for row_id in drawn], kinds):
        row, output = drawn[said.row], due.pop((said.row, said.kind))
        metric_id = metric_of(artifact, row.slice)
        agreement = _agreement(output, said.answer, gold=rows[row.id].gold, metric_id=metric_id)
        if said.kind == "tuned" and _question(row) != _question(said.answer):
            agreement = "mismatch"
        outcome.counts[agreement] += 1
        if agreement == "mismatch" and outcome.first is None:
            outcome.first = Mismatch(row.id, said.kind, *_told(row, output, said.answer))
    if due:
        raise ValueError(f"{len(due)} outputs were not asked for again")


def _agreement(stored: Output, answer: Answer, *, gold: Sequence[str], metric_id: str) -> Agreement:
    """Compare an output with an answer; what K is computed from has to be equal in any case."""
    extracted, score = get_metric(metric_id).judge(answer.text, gold)
    told = (stored.extracted, stored.score, stored.tokens, stored.finish)
    if (extracted, score, answer.tokens, answer.finish) != told:
        return "mismatch"
    return "match" if answer.text == stored.raw else "score"


def _told(row: EvalRow, stored: Output, answer: Answer) -> tuple[str, str]:
    """Return an output and an answer as a message shows them: the texts, or the counts of equal texts."""
    one, other = stored.raw, answer.text
    if one == other:
        return _counted(row, stored), _counted(answer, answer)
    pairs = enumerate(zip(one, other, strict=False))
    apart = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    start = max(0, apart - _SHOWN // 2)
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    before, after = "…" if start else "", "…" if len(text) > start + _SHOWN else ""
    return repr(f"{before}{text[start : start + _SHOWN]}{after}")


def _counted(question: EvalRow | Answer, output: Output | Answer) -> str:
    return f"{output.tokens} tokens, {output.finish}; {_question(question)}"


def _question(counts: EvalRow | Answer) -> str:
    return ", ".join(f"{name} {getattr(counts, name)}" for name in _COUNTS)


def _finding(outcome: Replayed, *, of: int) -> Finding:
    """Say what came of it. Raises VerificationError (E_REPLAY)."""
    counts, machine = outcome.counts, ", ".join(outcome.differences)
    drawn = f"{len(outcome.rows)} of {of} rows drawn with nonce {outcome.nonce}"
    elsewhere = f"; another machine than the receipt's: {machine}" if machine and counts["mismatch"] else ""
    if outcome.holds:
        compared = f"{counts['match']} of {outcome.outputs} outputs match, {counts['score']} in score alone"
        share = f"{outcome.allowed:.0%}"
        missed = f", {counts['mismatch']} do not and {share} may" if counts["mismatch"] else ""
        return Finding(f"{drawn}: {compared}{missed}{elsewhere}", "replayed")
    raise VerificationError(
        f"{counts['mismatch']} of {outcome.outputs} outputs are not what the models say; "
        f"{outcome.first}; {drawn}{elsewhere}",
        check="E_REPLAY",
        hint="Repeat it on a machine like the receipt's, or allow a share in policy.yaml (replay_mismatch)."
        if machine
        else "The stored outputs are not the models' own; do not rely on this artifact.",
    )

"""What a report shows, gathered from an artifact and its receipt; templates only lay it out."""

from dataclasses import dataclass
from typing import get_args

from kolm.artifact import Artifact
from kolm.errors import VerificationError
from kolm.modules import Part
from kolm.pack import EvalPack, pack_from_members
from kolm.predicates import CompilePredicate, KScore
from kolm.receipt import Receipt
from kolm.report.answers import turned
from kolm.report.datasheet import Datasheet, datasheet
from kolm.report.effort import Compared, plan_against_actual
from kolm.report.scores import Accuracy, accuracy_of
from kolm.scorecard import EvalRow, read_rows

PARTS: tuple[Part, ...] = get_args(Part)

LIMITS = (
    "That the stored answers came from these weights: scores are computed again from stored answers. "
    "Level 1 of kolm verify asks the model some of the questions again.",
    "Latency, memory, near duplicates and the number of attempts are the signer's word.",
    "How well the model does on pictures unlike those of the pack, or on other tasks.",
    "Whether the labels are right, whose pictures they are, or whether the base was trained on them before.",
    "That the training happened as logged: the log is a commitment, not a proof.",
)
"""What neither a report nor a receipt shows."""


@dataclass(frozen=True)
class PartSize:
    """Parameters of one part of the model."""

    part: str
    treatment: str
    base: int
    """The base's own."""
    added: int
    trained: int


@dataclass(frozen=True)
class Facts:
    """Everything that a report says in words and tables, in HTML and in Markdown."""

    artifact: Artifact
    receipt: Receipt
    compiled: CompilePredicate
    pack: EvalPack
    rows: list[EvalRow]
    accuracy: Accuracy
    changes: dict[str, int]
    """Rows that were fixed, broken, right and wrong before and after."""
    effort: list[Compared]
    sizes: list[PartSize]
    data: Datasheet
    signers: list[str]

    @property
    def k(self) -> KScore:
        """The K-score document."""
        return self.compiled.k_score

    @property
    def verdict(self) -> str:
        """PASS, FAIL or INCONCLUSIVE."""
        return self.k.gate.verdict

    @property
    def asked(self) -> str:
        """How the questions were asked, in sentences."""
        generation, seen = self.artifact.lock.generation, self.compiled.evaluation
        limits = f"at most {generation.max_new_tokens} tokens an answer"
        told = f"{'Greedily' if generation.greedy else 'Sampled'}, {limits}."
        if seen is None:
            return f"{told} How many questions were asked at once is not recorded."
        if seen.batch == 1:
            return f"{told} One question at a time."
        outcome = "so every question was asked alone" if seen.differing else "no answer differed"
        return (
            f"{told} Up to {seen.batch} questions at once; {seen.compared} of them also alone, "
            f"{seen.differing} answered otherwise: {outcome}."
        )


def facts_of(artifact: Artifact, receipt: Receipt) -> Facts:
    """Gather the facts of a compile. Raises ArtifactError, VerificationError, DataError."""
    compiled = compile_statement(receipt)
    pack = pack_from_members(artifact.read)
    rows = read_rows(artifact, pack=pack)
    return Facts(
        artifact=artifact,
        receipt=receipt,
        compiled=compiled,
        pack=pack,
        rows=rows,
        accuracy=accuracy_of(compiled.k_score),
        changes=turned(rows),
        effort=plan_against_actual(compiled),
        sizes=_sizes(artifact),
        data=datasheet(artifact, compiled, pack=pack, rows=rows),
        signers=_signers(receipt),
    )


def compile_statement(receipt: Receipt) -> CompilePredicate:
    """Return what a receipt says of the compile. Raises ArtifactError, VerificationError."""
    found = [s.predicate for s in receipt.unverified() if isinstance(s.predicate, CompilePredicate)]
    if len(found) != 1:
        raise VerificationError("the receipt does not say how it was compiled", check="E_CHAIN_STAGES")
    return found[0]


def _sizes(artifact: Artifact) -> list[PartSize]:
    modules = artifact.modules
    treatments = modules.treatments()
    return [
        PartSize(
            part=part,
            treatment=treatments[part],
            base=modules.size(part, added=False),
            added=modules.size(part, added=True),
            trained=sum(p.elements for p in modules.parameters if p.part == part and p.state == "trainable"),
        )
        for part in PARTS
        if part in treatments
    ]


def _signers(receipt: Receipt) -> list[str]:
    found = set()
    for envelope in receipt.envelopes:
        for signature in envelope.get("signatures", []):
            found.add(str(signature.get("keyid")))
    return sorted(found)

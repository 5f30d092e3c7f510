"""Who asks the models again for check 18, what an auditor wants asked, and what came of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kolm.answers import Answer
from kolm.artifact import Artifact
from kolm.pack import EvalPack, PackRow

ROWS = 59
"""Rows drawn unless the auditor says otherwise: of 5 % false rows one is among them in 95 of 100 draws."""

Agreement = Literal["match", "score", "mismatch"]
"""The same text, another text with the same extraction and score, or neither."""


@dataclass(frozen=True)
class Said:
    """What a model said when it was asked again for one output of one row."""

    row: str
    kind: str
    answer: Answer


class Replayer(Protocol):
    """Whoever opens an artifact's base and tuned model and asks them; see `apps.eval.replay`."""

    def environment(self, artifact: Artifact) -> Mapping[str, Any]:
        """Return what the models run on here, in the members of a receipt's `environment` that matter."""

    def answers(
        self, artifact: Artifact, pack: EvalPack, rows: Sequence[PackRow], kinds: Sequence[str]
    ) -> Iterator[Said]:
        """Yield every output of these kinds for these rows, each asked alone."""


@dataclass(frozen=True)
class Replay:
    """What an auditor asks for at level 1."""

    models: Replayer
    nonce: bytes
    """Chosen after the artifact was signed, or at random."""
    rows: int | None = ROWS
    """How many rows are drawn; None for all of them."""
    pack: EvalPack | None = None
    """The eval pack with its pictures, for an artifact that withholds them."""


@dataclass(frozen=True)
class Mismatch:
    """An output that is not what the model says, and what either is, quoted and cut."""

    row: str
    output: str
    stored: str
    said: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.output}: stored {self.stored}, the model says {self.said}"


@dataclass
class Replayed:
    """What came of a replay, so far."""

    nonce: str
    rows: list[str]
    """Ids of the drawn rows, in the pack's order."""
    differences: list[str]
    """In what this machine, or the way of asking, is not that of the receipt."""
    allowed: float
    """Share of the outputs that may be mismatches."""
    counts: dict[Agreement, int] = field(default_factory=lambda: {"match": 0, "score": 0, "mismatch": 0})
    first: Mismatch | None = None

    @property
    def outputs(self) -> int:
        """How many outputs were compared."""
        return sum(self.counts.values())

    @property
    def holds(self) -> bool:
        """Whether no more outputs are mismatches than are allowed."""
        return self.counts["mismatch"] <= self.allowed * self.outputs

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as one JSON object (specs/formats/verification.md 6)."""
        return {
            "nonce": self.nonce,
            "rows": self.rows,
            "outputs": self.outputs,
            "matches": self.counts["match"],
            "score_matches": self.counts["score"],
            "mismatches": self.counts["mismatch"],
            "allowed": self.allowed,
            "first_mismatch": None if self.first is None else vars(self.first),
            "differences": self.differences,
        }

"""What an audit has in hand: the inputs, and what earlier checks have established from them."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from kolm.artifact import Artifact
from kolm.container import Container
from kolm.dataset import SetDocument, parse_set
from kolm.dsse import Opened
from kolm.errors import ArtifactError, DataError, SpecError, VerificationError
from kolm.pack import EvalPack, pack_from_members
from kolm.predicates import CompilePredicate
from kolm.receipt import Receipt
from kolm.spec import CompileSpec, parse_spec
from kolm.statements import COMPILE, STAGE_TYPES, StagePredicate, Statement
from kolm.trust import TrustStore
from kolm.verify.replayer import Replay, Replayed
from kolm.verify.report import Evidence

CLOCK_SKEW = timedelta(minutes=10)
"""How far ahead of the auditor's clock a signed time may be."""


@dataclass(frozen=True)
class Finding:
    """What a check that passed says."""

    detail: str
    evidence: Evidence = "recomputed"
    done: bool = True
    """False if an optional input was not given, so that the check could not be made."""


@dataclass
class Case:
    """One audit; the attributes after the inputs are set by the check that establishes them."""

    source: Path | Future[Container]
    """The artifact's file, or its container while that is still being read."""
    receipt_bytes: bytes | None
    trust: TrustStore
    expected_cid: str | None
    base_dir: Path | None
    now: datetime
    replay: Replay | None = None
    """What is asked for at level 1."""
    proof: bytes | None = None
    """The proof that a log holds the receipt."""
    seen: bytes | None = None
    """The log's checkpoint that was seen last."""

    artifact: Artifact = field(init=False)
    """Set by check 1."""
    receipt: Receipt = field(init=False)
    """Set by check 3."""
    opened: list[Opened] = field(init=False)
    """Set by check 5."""
    statements: list[Statement] = field(init=False)
    """Set by check 6."""
    linked: bool = field(init=False, default=False)
    """Set by check 7: the statements are those of one compile of this artifact."""
    replayed: Replayed | None = field(init=False, default=None)
    """Set by check 18, and filled while the models answer."""

    @cached_property
    def pack(self) -> EvalPack:
        """The eval pack inside the artifact. Raises ArtifactError."""
        try:
            return pack_from_members(self.artifact.read)
        except DataError as err:
            raise ArtifactError(f"eval pack: {err.message}", check="E_EVAL_PACK", hint=err.hint) from err

    @cached_property
    def spec(self) -> CompileSpec:
        """The spec inside the artifact. Raises ArtifactError (E_SPEC_PARSE)."""
        try:
            return parse_spec(self.artifact.read("spec.yaml"), path=Path("spec.yaml")).spec
        except SpecError as err:
            raise ArtifactError(err.message, check="E_SPEC_PARSE", hint=err.hint) from err

    @cached_property
    def train_set(self) -> SetDocument:
        """The training set's commitments. Raises ArtifactError."""
        return parse_set(self.artifact.read("train/set.json"))

    @property
    def compile(self) -> CompilePredicate:
        """The compile statement's predicate."""
        return self.statement(COMPILE).as_(CompilePredicate)

    @property
    def stages(self) -> list[Statement]:
        """The stage statements, in order."""
        return [self.statement(kind) for kind in STAGE_TYPES]

    def stage(self, name: str) -> StagePredicate:
        """Return the predicate of one stage."""
        return self.statement(f"urn:kolm:stage:{name}:v1").as_(StagePredicate)

    def statement(self, kind: str) -> Statement:
        """Return the statement of a type: check 7 has seen that there is one of each."""
        return next(statement for statement in self.statements if statement.predicate_type == kind)


def require(holds: bool, message: str, *, check: str, hint: str = "") -> None:
    """Raise VerificationError with this check's code unless `holds`."""
    if not holds:
        raise VerificationError(message, check=check, hint=hint)

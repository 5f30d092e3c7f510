"""The training log: one canonical JSON line for each optimiser step, chained by SHA-256.

The format is specs/formats/trainlog.md. The first line commits to every input before the first
step; its hash h0 depends on no clock, run id or key, so resuming a run leaves no trace in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from kolm.canonical import canonical_json, canonical_lines, parse_canonical_lines
from kolm.cid import sha256_hex
from kolm.errors import VerificationError
from kolm.schema import Closed, Count, Hex, read_model

_SEED_BITS = 53
"""Seeds are JSON integers, which RFC 8785 keeps exact only below 2^53."""


Size = Annotated[float, Field(ge=0)]
"""Losses are cross-entropies, and norms and rates are sizes: none is below 0."""


class Commitment(Closed):
    """Digests of everything that decides the run, fixed before the first step."""

    spec: Hex
    """SHA-256 of the member `spec.yaml`."""
    lock: Hex
    """SHA-256 of the member `spec.lock.json`."""
    set: Hex
    """SHA-256 of the member `train/set.json`."""
    pack: Hex
    """Digest of the eval pack."""
    base: Hex
    """SHA-256 of the canonical JSON of the manifest's `base.files`."""
    seed: Count
    """The effective seed."""


class Step(Closed):
    """One optimiser step."""

    step: Count
    rows: list[str]
    """Ids of the training rows in the order they were fed."""
    batch: Hex
    """SHA-256 over the processed tensors of the step."""
    lr: Size
    loss: Size
    grad_norm: Size
    hash: Hex


class Validation(Closed):
    """The mean loss over the validation rows after a step."""

    step: Count
    validation_loss: Size
    hash: Hex


class Opening(Closed):
    """The first line of the log."""

    kind: Literal["kolm-trainlog/1"]
    commitment: Commitment
    hash: Hex


@dataclass(frozen=True)
class TrainLog:
    """A log whose lines are well formed and whose chain holds."""

    commitment: Commitment
    steps: tuple[Step, ...]
    validations: tuple[Validation, ...]
    head: str
    """Hash of the last line."""

    def kept(self, wanted: str | None) -> tuple[str, int]:
        """Return which weights are kept, `best` or `last`, and their step (specs/formats/trainlog.md 4).

        `wanted` is the configuration's `keep`; the best are those of the lowest validation loss, the
        first of them on ties.
        """
        if wanted == "last" or not self.validations:
            return "last", len(self.steps)
        return "best", min(self.validations, key=lambda row: row.validation_loss).step


def effective_seed(seed: int, *, root: str) -> int:
    """Return the seed that training uses: the spec's seed bound to the training set's digest.

    Nobody can look for a lucky seed without changing either (specs/formats/trainlog.md 3).
    """
    digest = sha256_hex(canonical_json({"seed": seed, "root": root}))
    return int(digest[:16], 16) & ((1 << _SEED_BITS) - 1)


def base_digest(files: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of a base: of the canonical JSON of its `[{path, sha256, bytes}]` list."""
    return sha256_hex(canonical_json([dict(file) for file in files]))


class Chain:
    """A log being written; `lines` are its rows so far, each with its hash."""

    def __init__(self, commitment: Mapping[str, Any]) -> None:
        opening = {"kind": "kolm-trainlog/1", "commitment": dict(commitment)}
        self.lines: list[dict[str, Any]] = [{**opening, "hash": _link("", opening)}]

    @property
    def head(self) -> str:
        """Hash of the last line."""
        return str(self.lines[-1]["hash"])

    def append(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Add one step or validation record and return it with its hash."""
        line = {**record, "hash": _link(self.head, record)}
        self.lines.append(line)
        return line

    def to_bytes(self) -> bytes:
        """Return the bytes of `train/log.jsonl`."""
        return canonical_lines(self.lines)


def read_log(data: bytes) -> TrainLog:
    """Read a log and check every line's form and hash (specs/formats/trainlog.md 2).

    Raises ArtifactError (E_JSON_CANONICAL, E_SCHEMA) or VerificationError (E_TRAINLOG).
    """
    lines = parse_canonical_lines(data, what="train/log.jsonl")
    if not lines:
        raise _broken("has no first line")
    opening = read_model(Opening, lines[0], what="train/log.jsonl line 1")
    _check_chain(lines)
    steps: list[Step] = []
    validations: list[Validation] = []
    for number, line in enumerate(lines[1:], start=2):
        what = f"train/log.jsonl line {number}"
        if isinstance(line, dict) and "validation_loss" in line:
            validations.append(read_model(Validation, line, what=what))
            if not steps or validations[-1].step != len(steps):
                raise _broken(
                    f"line {number} is a validation after step {validations[-1].step}, out of place"
                )
        else:
            steps.append(read_model(Step, line, what=what))
    _check_order(steps)
    return TrainLog(opening.commitment, tuple(steps), tuple(validations), str(lines[-1]["hash"]))


def _check_chain(lines: Sequence[Any]) -> None:
    previous = ""
    for number, line in enumerate(lines, start=1):
        record = (
            {key: value for key, value in line.items() if key != "hash"} if isinstance(line, dict) else {}
        )
        if not record or line.get("hash") != _link(previous, record):
            raise _broken(f"line {number} does not follow from the line before it")
        previous = line["hash"]


def _check_order(steps: Sequence[Step]) -> None:
    """Steps are numbered 1, 2, 3 ...: a dropped step would otherwise only show as a gap."""
    if [step.step for step in steps] != list(range(1, len(steps) + 1)):
        raise _broken("steps are not numbered 1, 2, 3, ...")


def _link(previous: str, record: Mapping[str, Any]) -> str:
    return sha256_hex(bytes.fromhex(previous) + canonical_json(dict(record)))


def _broken(message: str) -> VerificationError:
    return VerificationError(
        f"train/log.jsonl {message}",
        check="E_TRAINLOG",
        hint="The log was changed after training, or is another run's.",
    )

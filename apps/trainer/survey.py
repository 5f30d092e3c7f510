"""All rows of a data set as the trainer will see them: how long they are, and which it would refuse."""

import statistics
from collections.abc import Collection
from dataclasses import dataclass, field

from apps.trainer.batch import Row
from apps.trainer.collate import Encoder, OverlongError
from kolm.dataset import Dataset
from kolm.errors import DataError, KolmError
from kolm.pack import EvalPack
from kolm.spec import VLMTrainConfig


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the largest of some counts."""

    least: int
    median: float
    most: int

    @classmethod
    def of(cls, counts: Collection[int]) -> "Spread":
        """Summarise counts; of none, all three are 0."""
        return cls(min(counts), statistics.median(counts), max(counts)) if counts else cls(0, 0, 0)


@dataclass(frozen=True)
class Refusal:
    """A row that would stop the compile, and why."""

    row: str
    reason: str
    hint: str


@dataclass
class Survey:
    """What was found in one data set."""

    rows: int = 0
    """Rows that can be trained on."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Tokens of each such row by its id, image tokens included."""
    image_tokens: list[int] = field(default_factory=list)
    size_bytes: int = 0
    """Memory of all of them, encoded."""
    truncated: list[str] = field(default_factory=list)
    """Ids of rows whose prompt is cut to fit."""
    dropped: list[str] = field(default_factory=list)
    """Ids of rows that do not fit and are left out."""
    refused: list[Refusal] = field(default_factory=list)
    longest: list[Row] = field(default_factory=list)
    """The longest rows, as many as one batch holds."""

    def add(self, row: Row, *, batch: int) -> None:
        """Count one row."""
        self.rows += 1
        self.lengths[row.id] = row.length
        self.image_tokens.append(row.cost.tokens)
        self.size_bytes += row.size_bytes
        if row.truncated:
            self.truncated.append(row.id)
        ranked = sorted([*self.longest, row], key=lambda r: (r.length, r.cost.patches), reverse=True)
        self.longest = ranked[:batch]


def survey(encoder: Encoder, dataset: Dataset, config: VLMTrainConfig) -> Survey:
    """Encode every row once; a bad one is listed, not raised. Raises DataError when all are dropped."""
    found = Survey()
    for example in dataset.examples:
        try:
            row = encoder.encode(example, dataset, config)
        except OverlongError as err:
            if config.on_overlong == "drop":
                found.dropped.append(example.id)
            else:
                found.refused.append(Refusal(example.id, err.message, err.hint))
        except KolmError as err:
            found.refused.append(Refusal(example.id, err.message, err.hint))
        else:
            found.add(row, batch=config.per_device_train_batch_size)
    if found.dropped and not found.rows and not found.refused:
        raise DataError("no row is left to train on", hint="raise train.max_seq_length")
    return found


def refused_questions(encoder: Encoder, pack: EvalPack) -> list[Refusal]:
    """Encode every question of a pack once and list those that the processor refuses."""
    found = []
    for row in pack.rows:
        try:
            images = [pack.image(cid) for cid in row.images]
            encoder.prompt(row.turns, images, what=f"eval row {row.id}")
        except KolmError as err:
            found.append(Refusal(row.id, err.message, err.hint))
    return found

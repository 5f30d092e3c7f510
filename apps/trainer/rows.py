"""All rows of one run: every one checked before the first step, as many kept encoded as memory allows."""

import itertools
from collections.abc import Sequence
from typing import Any, overload

from apps.trainer.batch import IGNORE, TOKENS, Row
from apps.trainer.collate import Encoder, OverlongError
from kolm.dataset import Dataset, Example
from kolm.errors import DataError
from kolm.spec import VLMTrainConfig

CACHE_BYTES = 2 << 30
"""Tensors kept in memory; rows beyond it are encoded again each time they are used."""


class Rows(Sequence[Row]):
    """The encoded rows of a data set, in its order, without those that were dropped."""

    def __init__(
        self, encoder: Encoder, dataset: Dataset, config: VLMTrainConfig, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._encoder = encoder
        self._dataset = dataset
        self._config = config
        self._kept: list[Example] = []
        self._encoded: dict[int, Row] = {}
        self.dropped: list[str] = []
        """Ids of rows that do not fit, left out because `on_overlong` is `drop`."""
        self.truncated: list[str] = []
        """Ids of rows whose prompt was cut."""
        self._check_all(cache_bytes)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        kept = self._encoded.get(index)
        return kept or self._encoder.encode(self._kept[index], self._dataset, self._config)

    def _check_all(self, room: int) -> None:
        """Encode every row once, so that a bad one is found while nothing is lost. Raises DataError."""
        for example in self._dataset.examples:
            try:
                row = self._encoder.encode(example, self._dataset, self._config)
            except OverlongError:
                if self._config.on_overlong != "drop":
                    raise
                self.dropped.append(example.id)
                continue
            if row.truncated:
                self.truncated.append(example.id)
            room -= row.size_bytes
            if room > 0:
                self._encoded[len(self._kept)] = row
            self._kept.append(example)
        if not self._kept:
            raise DataError("no row is left to train on", hint="raise train.max_seq_length")


def supervised(row: Row, processor: Any) -> list[str]:
    """Return the text of every supervised span of a row, special tokens shown."""
    spans: list[list[int]] = []
    previous = IGNORE
    for label in row.labels[0].tolist():
        if label != IGNORE and previous == IGNORE:
            spans.append([])
        if label != IGNORE:
            spans[-1].append(label)
        previous = label
    return [processor.tokenizer.decode(span) for span in spans]


def shown(row: Row, processor: Any) -> str:
    """Return a whole row decoded; a special token that repeats, as for an image, as `<image> x 256`.

    Where a decoder of its own answers, its sequence is a line below the encoder's.
    """
    return "\n".join(_decoded(row.inputs[key], processor) for key in TOKENS if key in row.inputs)


def _decoded(ids: Any, processor: Any) -> str:
    tokenizer = processor.tokenizer
    special = {*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", {})}
    text, plain = "", []
    for token, run in itertools.groupby(ids[0].tolist()):
        count = len(list(run))
        if token >= 0 and (count == 1 or token not in special):
            plain += [token] * count
            continue
        said = tokenizer.decode([token]) if token >= 0 else f"<|image_{-token}|>"  # numbered
        text += f"{tokenizer.decode(plain)}{said} x {count}"
        plain = []
    return text + tokenizer.decode(plain)

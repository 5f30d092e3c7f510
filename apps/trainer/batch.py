"""Rows as tensors, and how several become the batch of one forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apps.trainer.families import ImageCost
from kolm.errors import TrainError

IGNORE = -100
"""Label of a position that no loss is computed on (torch's `ignore_index`)."""

TOKENS = ("input_ids", "decoder_input_ids")
"""Sequences of tokens that a row has."""

_SIZED = {
    "image_sizes", "pixel_attention_mask", "aspect_ratio_mask", "pixel_mask", "image_position_ids",
    "spatial_shapes", "image_attention_mask",
}  # fmt: skip
"""Inputs that say which part of padded pixels is an image."""

_FILL = {"image_attention_mask": 1}
"""What tiles that are not there hold, where it is not 0: Phi-4's image processor calls them seen."""

_STRIPS = {"pixel_values": "target_sizes"}
"""Inputs that are one strip of patches, cut by what another input says (MiniCPM-V): joined at its end."""

_POINTING = {"image_token_pooling": "pixel_values"}
"""Inputs that count through all patches (tiles, patches, ...) of the batch, as Molmo2's do; -1 is none."""


@dataclass(frozen=True)
class Row:
    """One example as tensors of a batch of one."""

    id: str
    inputs: dict[str, Any]
    """What the processor returned: `input_ids` (1, length), `pixel_values`, ..."""
    labels: Any
    """(1, length), or (1, length of the decoder's sequence) where a decoder of its own answers; `IGNORE`
    except on assistant tokens."""
    cost: ImageCost
    truncated: bool = False
    apart: int | None = None
    """Its number of images, in families whose rows share a forward pass only with rows of as many."""

    @property
    def length(self) -> int:
        """Tokens of the row, image tokens included: of the encoder and the decoder where there are two."""
        return sum(int(self.inputs[key].shape[1]) for key in TOKENS if key in self.inputs)

    @property
    def size_bytes(self) -> int:
        """Memory that the row's tensors take."""
        return sum(int(t.numel()) * int(t.element_size()) for t in (*self.inputs.values(), self.labels))


def batched(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    """Split the rows of one optimizer step into forward passes of at most `size` rows.

    Cross-attention families get passes of rows with equally many images: tokens before the first image
    attend to every image of the batch, padding included (transformers' MllamaTextCrossAttention).
    """
    kinds: dict[int | None, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.apart, []).append(row)
    return [kind[i : i + size] for kind in kinds.values() for i in range(0, len(kind), size)]


def collate(rows: Sequence[Row], *, pad_token: int, to_be_continued: bool = False) -> dict[str, Any]:
    """Join rows to one batch: sequences padded on the right, images joined along dimension 0.

    Sequences that the model is to continue are padded on the left, so that all end at once; what an encoder
    reads beside them is not.

    Images of different inner shapes (numbers of tiles, heights, widths) are filled up with zeros, where the
    batch says how large they really are. Returns the processor's keys and `labels`, sequences as (batch,
    longest, ...). Raises TrainError for shapes that cannot be joined.
    """
    import torch

    batch = {}
    for key in dict.fromkeys(key for row in rows for key in row.inputs):
        having = [row for row in rows if key in row.inputs]
        whole = all(is_sequence(key, row) for row in having)
        left = to_be_continued and (key.startswith("decoder_") or "decoder_input_ids" not in having[0].inputs)
        batch[key] = _sequences(key, rows, pad_token, left=left) if whole else _images(key, having)
    longest = max(row.labels.shape[1] for row in rows)
    batch["labels"] = torch.cat([_pad(row.labels, 1, longest, IGNORE) for row in rows])
    return batch


def is_sequence(key: str, row: Row) -> bool:
    """Whether an input has one entry for each token of its row."""
    return not key.startswith("pixel_") and row.inputs[key].shape[:2] == (1, _width(key, row))


def _width(key: str, row: Row) -> int:
    """Tokens of the sequence that an input belongs to: the decoder's by its name, else `input_ids`."""
    other = row.inputs.get("input_ids", row.labels)
    return int((row.labels if key.startswith("decoder_") else other).shape[1])


def _sequences(key: str, rows: Sequence[Row], pad_token: int, *, left: bool) -> Any:
    """Join inputs with one entry per token -> (batch, longest, ...); rows without one get zeros."""
    import torch

    longest = max(_width(key, row) for row in rows)
    like = next(row.inputs[key] for row in rows if key in row.inputs)
    blank = [like.new_zeros((1, _width(key, row), *like.shape[2:])) for row in rows]
    tensors = [row.inputs.get(key, zeros) for row, zeros in zip(rows, blank, strict=True)]
    fill = pad_token if key in TOKENS else 0
    return torch.cat(_widen([_pad(tensor, 1, longest, fill, left=left) for tensor in tensors], start=2))


def _images(key: str, rows: Sequence[Row]) -> Any:
    """Join inputs that belong to images, of rows that have them."""
    import torch

    tensors = [row.inputs[key] for row in rows]
    if _STRIPS.get(key) in rows[0].inputs:
        return torch.cat(tensors, dim=-1)
    if len({tensor.shape[1:] for tensor in tensors}) > 1 and not _SIZED & set(rows[0].inputs):
        raise TrainError(
            f"{key} of rows {rows[0].id} to {rows[-1].id} differ in shape, and nothing in the batch "
            "says how large each image is",
            hint="set train.per_device_train_batch_size: 1",
        )
    if key not in _POINTING:
        return torch.cat(_widen(tensors, start=1, value=_FILL.get(key, 0)))
    tensors = _shifted(tensors, [row.inputs[_POINTING[key]] for row in rows])
    return torch.cat(_widen(tensors, start=1, value=-1))


def _shifted(indices: list[Any], patches: list[Any]) -> list[Any]:
    """Let every row's indices count on from the patches of the rows before it."""
    before, moved = 0, []
    for index, counted in zip(indices, patches, strict=True):
        moved.append(index.where(index < 0, index + before))
        before += counted.shape[0] * counted.shape[1]
    return moved


def _widen(tensors: list[Any], *, start: int, value: int = 0) -> list[Any]:
    """Fill tensors up, from dimension `start` on, to the largest of each dimension."""
    for dim in range(start, tensors[0].dim()):
        largest = max(tensor.shape[dim] for tensor in tensors)
        tensors = [_pad(tensor, dim, largest, value) for tensor in tensors]
    return tensors


def _pad(tensor: Any, dim: int, length: int, value: int, *, left: bool = False) -> Any:
    import torch

    behind, room = [0, 0] * (tensor.dim() - 1 - dim), length - tensor.shape[dim]
    around = (room, 0) if left else (0, room)
    return torch.nn.functional.pad(tensor, (*behind, *around), value=value)

"""From examples to batches: chat template, images, labels on assistant tokens only.

Every key that the processor returns is passed on. Rows are encoded once, before training, so that a
row that cannot be trained on is found before the first step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.foreign import translated
from kolm.dataset import Dataset, Example, ImagePart, TextPart, Turn
from kolm.errors import DataError, TrainError
from kolm.spec import VLMTrainConfig

IGNORE = -100
"""Label of a position that no loss is computed on (torch's `ignore_index`)."""


_REFUSED = "look at its text and images, and at the base's chat template"


class OverlongError(DataError):
    """A row does not fit, even with its prompt cut."""


@dataclass(frozen=True)
class Row:
    """One example as tensors of a batch of one."""

    id: str
    inputs: dict[str, Any]
    """What the processor returned: `input_ids` (1, length), `pixel_values`, ..."""
    labels: Any
    """(1, length); `IGNORE` except on assistant tokens."""
    cost: ImageCost
    truncated: bool = False

    @property
    def length(self) -> int:
        """Tokens of the row, image tokens included."""
        return int(self.inputs["input_ids"].shape[1])

    @property
    def size_bytes(self) -> int:
        """Memory that the row's tensors take."""
        return sum(int(t.numel()) * int(t.element_size()) for t in (*self.inputs.values(), self.labels))


class Encoder:
    """Turns examples of one base into rows."""

    def __init__(self, processor: Any, model_config: Any, family: Family) -> None:
        self.processor = processor
        self.model_config = model_config
        self.family = family

    def prompt(
        self, turns: Sequence[Turn], images: Sequence[Any], *, what: str = "the question"
    ) -> dict[str, Any]:
        """Encode turns up to where the assistant speaks; returns a batch of one. Raises DataError."""
        with translated(f"{what}: the processor refuses it", hint=_REFUSED, error=DataError):
            return self._process(self._render(turns, ask=True), images)

    def encode(self, example: Example, dataset: Dataset, config: VLMTrainConfig) -> Row:
        """Encode one example, its text shortened if it is too long, its response never.

        Raises DataError for a row that cannot be trained on.
        """
        images = [dataset.image(cid) for cid in example.images]
        if len(images) > config.max_images_per_example:
            raise DataError(
                f"row {example.id}: {len(images)} images, at most {config.max_images_per_example} allowed",
                hint="raise train.max_images_per_example or drop the row",
            )
        with translated(f"row {example.id}: the processor refuses it", hint=_REFUSED, error=DataError):
            row = self._encode(example, images)
            while row.length > config.max_seq_length:
                example = self._shorten(example, row, config.max_seq_length)
                row = replace(self._encode(example, images), truncated=True)
        return row

    def cost(self, inputs: dict[str, Any]) -> ImageCost:
        """Count image tokens and patches of a batch of one."""
        return self.family.image_cost(inputs, self.model_config)

    def _encode(self, example: Example, images: Sequence[Any]) -> Row:
        turns = example.messages
        inputs = self._process(self._render(turns), images)
        self._check_inputs(example, inputs, images)
        labels = inputs["input_ids"].new_full(inputs["input_ids"].shape, IGNORE)  # [1, L]
        for index, turn in enumerate(turns):
            if turn.role == "assistant":
                start = self._length(turns[:index], images, inputs, ask=True)
                end = self._length(turns[: index + 1], images, inputs)
                labels[0, start:end] = inputs["input_ids"][0, start:end]
                self._stop_at_end_of_turn(labels, start, end)
        if bool((labels == IGNORE).all()):
            raise DataError(
                f"row {example.id}: no assistant token to learn from", hint="is the response empty?"
            )
        return Row(id=example.id, inputs=inputs, labels=labels, cost=self.cost(inputs))

    def _length(
        self, turns: Sequence[Turn], images: Sequence[Any], inputs: dict[str, Any], *, ask: bool = False
    ) -> int:
        """Tokens of these first turns, checked to be a prefix of the whole row."""
        used = sum(isinstance(part, ImagePart) for turn in turns for part in turn.content)
        ids = self._process(self._render(turns, ask=ask), images[:used])["input_ids"][0].tolist()
        length = len(ids)
        if ids != inputs["input_ids"][0, :length].tolist():
            raise TrainError(
                "the chat template renders earlier turns differently once later turns follow",
                hint="assistant tokens cannot be told apart; use a template that only appends",
            )
        return length

    def _stop_at_end_of_turn(self, labels: Any, start: int, end: int) -> None:
        """Unlabel what the template puts behind the end-of-turn token, such as a line break."""
        eos = self.processor.tokenizer.eos_token_id
        ends = (labels[0, start:end] == eos).nonzero()
        if len(ends):
            labels[0, start + int(ends[-1]) + 1 : end] = IGNORE

    def _check_inputs(self, example: Example, inputs: dict[str, Any], images: Sequence[Any]) -> None:
        if not images:
            return
        missing = [key for key in self.family.required_inputs if key not in inputs]
        if missing:
            raise TrainError(
                f"the processor returns no {missing[0]}; without it {self.family.name} degrades silently",
                hint="use the processor that belongs to the base",
            )
        slots = int((inputs["input_ids"] == self._image_token()).sum())
        tokens = self.cost(inputs).tokens
        if slots != tokens:
            raise DataError(
                f"row {example.id}: {slots} image placeholders for {tokens} image features",
                hint="does its text hold a literal image token?",
            )

    def _image_token(self) -> int:
        config = self.model_config
        token = getattr(config, "image_token_id", None)
        return int(token if token is not None else config.image_token_index)

    def _shorten(self, example: Example, row: Row, limit: int) -> Example:
        """Cut the end off the longest user or system text, at least one character.

        Characters are cut, not tokens: a token may end inside a character, and would grow back when it
        is decoded. Raises OverlongError when no text is left to cut.
        """
        texts = [
            (len(part.text), i, j)
            for i, turn in enumerate(example.messages)
            for j, part in enumerate(turn.content)
            if turn.role != "assistant" and isinstance(part, TextPart)
        ]
        length, i, j = max(texts, default=(0, 0, 0))
        if not length:
            raise OverlongError(
                f"row {example.id}: {row.length} tokens, {row.cost.tokens} of them image tokens, "
                f"do not fit max_seq_length {limit}",
                hint="raise train.max_seq_length, lower processor.max_pixels, or train.on_overlong: drop",
            )
        turn = example.messages[i]
        part = turn.content[j]
        text = part.text[: self._fitting(part.text, row.length - limit)]
        content = (*turn.content[:j], replace(part, text=text), *turn.content[j + 1 :])
        turns = (*example.messages[:i], replace(turn, content=content), *example.messages[i + 1 :])
        return replace(example, messages=turns)

    def _fitting(self, text: str, excess: int) -> int:
        """Most characters of `text` that are `excess` tokens fewer than all of it; less than its length."""
        tokenizer = self.processor.tokenizer
        room = len(tokenizer(text).input_ids) - excess
        low, high = 0, len(text) - 1
        while low < high:
            middle = (low + high + 1) // 2
            fits = len(tokenizer(text[:middle]).input_ids) <= room
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def _render(self, turns: Sequence[Turn], *, ask: bool = False) -> str:
        messages = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image"}
                    for part in turn.content
                ],
            }
            for turn in turns
        ]
        if not messages:
            return ""
        return str(self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask))

    def _process(self, text: str, images: Sequence[Any]) -> dict[str, Any]:
        pictures = {"images": list(images)} if images else {}
        return dict(self.processor(text=[text], **pictures, return_tensors="pt"))


def collate(rows: Sequence[Row], *, pad_token: int) -> dict[str, Any]:
    """Join rows to one batch: sequences padded on the right, image tensors joined along dimension 0.

    Returns the processor's keys and `labels`, sequences as (batch, longest).
    """
    import torch

    longest = max(row.length for row in rows)
    fill = {"input_ids": pad_token}
    batch = {}
    for key in dict.fromkeys(key for row in rows for key in row.inputs):
        tensors = [row.inputs[key] for row in rows if key in row.inputs]
        if all(t.shape[:2] == (1, row.length) for t, row in zip(tensors, rows, strict=False)):
            tensors = [_pad(t, longest, fill.get(key, 0)) for t in tensors]
        batch[key] = torch.cat(tensors)
    batch["labels"] = torch.cat([_pad(row.labels, longest, IGNORE) for row in rows])
    return batch


def _pad(tensor: Any, length: int, value: int) -> Any:
    import torch

    return torch.nn.functional.pad(tensor, (0, length - tensor.shape[1]), value=value)

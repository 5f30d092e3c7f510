"""From examples to rows of tensors: chat template, images, labels on assistant tokens only.

Every key that the processor returns is passed on. Rows are encoded once, before training, so that a
row that cannot be trained on is found before the first step.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from apps.trainer.batch import IGNORE, Row, batched, collate
from apps.trainer.decoders import Decoder, refuse_decoder
from apps.trainer.families import Family, ImageCost
from apps.trainer.foreign import translated
from apps.trainer.marks import end_tokens, image_texts
from apps.trainer.tokenizer import TODAY
from kolm.dataset import Dataset, Example, ImagePart, TextPart, Turn
from kolm.errors import DataError, TrainError
from kolm.spec import VLMTrainConfig

__all__ = ["IGNORE", "Encoder", "OverlongError", "Row", "batched", "collate"]

_REFUSED = "look at its text and images, and at the base's chat template"


class OverlongError(DataError):
    """A row does not fit, even with its prompt cut."""


class Encoder:
    """Turns examples of one base into rows.

    Raises SpecError for a family whose questions cannot be asked from the files of its base.
    """

    def __init__(self, processor: Any, model_config: Any, family: Family) -> None:
        refuse_decoder(family)
        self.processor = processor
        self.model_config = model_config
        self.family = family
        self._literals = image_texts(processor, family)
        self._ends = end_tokens(processor.tokenizer, model_config)
        own = family.labels != "causal"
        self._decoder = Decoder(processor, model_config, family, self.process) if own else None

    def prompt(
        self, turns: Sequence[Turn], images: Sequence[Any], *, what: str = "the question"
    ) -> dict[str, Any]:
        """Encode turns up to where the assistant speaks; returns a batch of one. Raises DataError."""
        self.check(turns, images, what=what)
        with translated(f"{what}: the processor refuses it", hint=_REFUSED, error=DataError):
            if self._decoder:
                return self._decoder.question(turns, images)
            return self.process(self.render(turns, ask=True), images)

    def check(self, turns: Sequence[Turn], images: Sequence[Any], *, what: str) -> None:
        """Refuse what the model would read otherwise than it is meant. Raises DataError."""
        self._check_sight(images, what=what)
        self._check_texts(turns, what=what)

    def encode(self, example: Example, dataset: Dataset, config: VLMTrainConfig) -> Row:
        """Encode one example, its text shortened if it is too long, its response never.

        Raises DataError for a row that cannot be trained on.
        """
        self.check(example.messages, example.images, what=f"row {example.id}")
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

    def _check_sight(self, images: Sequence[Any], *, what: str) -> None:
        """Refuse images that a text-only model would never see."""
        if images and not self.family.sees_images:
            raise DataError(
                f"{what}: shows an image, and {self.family.name} reads text only",
                hint="leave the row out, or choose a vision-language base",
            )

    def _check_texts(self, turns: Sequence[Turn], *, what: str) -> None:
        """Refuse a text that the processor would take for the place of an image."""
        texts = [part.text for turn in turns for part in turn.content if isinstance(part, TextPart)]
        found = sorted(literal for literal in self._literals if any(literal in text for text in texts))
        if found:
            raise DataError(
                f"{what}: its text holds {found[0]!r}, which {self.family.name} reads as part of an image",
                hint="take it out; where an image stands is said by the order of a turn's parts",
            )

    def _encode(self, example: Example, images: Sequence[Any]) -> Row:
        if self._decoder:
            inputs, labels = self._decoder.answered(example.messages, images)
            self._check_inputs(example, inputs, images)
        else:
            inputs = self.process(self.render(example.messages), images)
            self._check_inputs(example, inputs, images)
            labels = self._labels(example, images, inputs)
        if bool((labels == IGNORE).all()):
            raise DataError(
                f"row {example.id}: no assistant token to learn from", hint="is the response empty?"
            )
        apart = None if self.family.mixes_text else len(images)
        return Row(id=example.id, inputs=inputs, labels=labels, cost=self.cost(inputs), apart=apart)

    def _labels(self, example: Example, images: Sequence[Any], inputs: dict[str, Any]) -> Any:
        """Label every assistant turn of a conversation, up to the token that ends it -> (1, length)."""
        labels = inputs["input_ids"].new_full(inputs["input_ids"].shape, IGNORE)
        for index, turn in enumerate(example.messages):
            if turn.role == "assistant":
                start = self._length(example, index, images, inputs, ask=True)
                end = self._length(example, index + 1, images, inputs)
                labels[0, start:end] = inputs["input_ids"][0, start:end]
                self._stop_at_end_of_turn(labels, start, end)
        return labels

    def _length(
        self,
        example: Example,
        count: int,
        images: Sequence[Any],
        inputs: dict[str, Any],
        *,
        ask: bool = False,
    ) -> int:
        """Tokens of the first `count` turns, checked to be a prefix of the whole row."""
        turns, whole = example.messages[:count], inputs["input_ids"][0].tolist()
        if count == len(example.messages):
            return len(whole)
        used = sum(isinstance(part, ImagePart) for turn in turns for part in turn.content)
        text = self.render(turns, ask=ask)
        ids = self.process(text, images[:used])["input_ids"][0].tolist()
        if ids == whole[: len(ids)]:
            return len(ids)
        if self.render(example.messages).startswith(text):
            if (found := self._boundary(text, images, used, whole)) is not None:
                return found
            raise DataError(
                f"row {example.id}: the first token of a response reaches back into the prompt",
                hint="take the spaces or line breaks from the response's beginning",
            )
        raise TrainError(
            "the chat template renders earlier turns differently once later turns follow",
            hint="assistant tokens cannot be told apart; use a template that only appends",
        )

    def _boundary(self, text: str, images: Sequence[Any], used: int, whole: list[int]) -> int | None:
        """Where the first turns end in a row whose images cost otherwise when some are left out.

        LLaVA-OneVision cuts an image into tiles only where it is alone in its row. The images of later turns
        are put behind the text; None when the text's own tokens are not those of the row.
        """
        if used == len(images) or not isinstance(place := getattr(self.processor, "image_token", None), str):
            return None
        ids = self.process(text + place * (len(images) - used), images)["input_ids"][0].tolist()
        common = next(i for i, (a, b) in enumerate(zip([*ids, -1], [*whole, -2], strict=False)) if a != b)
        return common if common < len(ids) and ids[common] == self._image_token() else None

    def _stop_at_end_of_turn(self, labels: Any, start: int, end: int) -> None:
        """Unlabel what the template puts behind the end-of-turn token, such as a line break."""
        ends = [i for i in range(start, end) if int(labels[0, i]) in self._ends]
        if ends:
            labels[0, ends[-1] + 1 : end] = IGNORE

    def _check_inputs(self, example: Example, inputs: dict[str, Any], images: Sequence[Any]) -> None:
        if not images:
            return
        missing = [key for key in self.family.required_inputs if key not in inputs]
        if missing:
            raise TrainError(
                f"the processor returns no {missing[0]}; without it {self.family.name} degrades silently",
                hint="use the processor that belongs to the base",
            )
        if "input_ids" not in inputs:
            return  # no token stands where an image goes
        token, ids = self._image_token(), inputs["input_ids"]
        slots = int((ids < 0 if token is None else ids == token).sum())
        tokens = self.cost(inputs).tokens
        if slots != tokens:
            raise DataError(
                f"row {example.id}: {slots} image placeholders for {tokens} image features",
                hint="does its text hold a literal image token?",
            )

    def _image_token(self) -> int | None:
        """Id of the token that stands where a feature row goes; None where they are negative (Phi-3.5)."""
        sources = (self.model_config, "image_token_id"), (self.model_config, "image_token_index")
        more = (self.model_config, "media_placeholder_token_id"), (self.processor, "image_token_id")
        found = [getattr(source, name, None) for source, name in (*sources, *more)]
        return next((int(token) for token in found if token is not None), None)

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

    def render(self, turns: Sequence[Turn], *, ask: bool = False) -> str:
        """Write a conversation as the chat template has it; `ask` opens the assistant's turn."""
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
        # Idefics' processor takes no template of its own
        source = self.processor if getattr(self.processor, "chat_template", "") is not None else None
        render = (source or self.processor.tokenizer).apply_chat_template
        return str(render(messages, tokenize=False, add_generation_prompt=ask, date_string=TODAY))

    def process(self, text: str, *images: Sequence[Any]) -> dict[str, Any]:
        """Encode one text with its images, or as many times as there are images of it -> a batch."""
        options: dict[str, Any] = {"images": [list(shown) for shown in images]} if any(images) else {}
        begin = getattr(self.processor.tokenizer, "bos_token", None)
        if self.family.sees_images and begin and text.startswith(begin):
            options["add_special_tokens"] = False  # the template has written it already
        return dict(self.processor(text=[text] * len(images), **options, return_tensors="pt"))

"""Models whose answer is written by a decoder of its own: what the encoder reads, what the decoder is taught.

Rule `decoder` (Florence-2, arXiv:2311.06242; T5Gemma 2, arXiv:2512.14856): the encoder reads the question
and its images, the decoder starts from its start token. Rule `decoder_prompt` (Nemotron Parse,
arXiv:2511.20478): the encoder sees the image alone, and the question is how the decoder's sequence begins.
In both, `decoder_input_ids` holds the whole sequence of the decoder and labels stand in its coordinates, so
the loss is that of every other family: the same as transformers' `shift_tokens_right` makes of labels alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.trainer.batch import IGNORE
from apps.trainer.families import Family
from kolm.dataset import ImagePart, TextPart, Turn
from kolm.errors import DataError, SpecError, TrainError

SEQUENCE = "decoder_input_ids"

_REFUSED = {
    "drawn": "its question is drawn on the image with a font that its processor downloads as it runs",
}
"""Rules whose families cannot be trained, and why."""


def refuse_decoder(family: Family) -> None:
    """Refuse a family whose question cannot be asked from the files of its base. Raises SpecError."""
    if family.labels in _REFUSED:
        raise SpecError(
            f"{family.name} cannot be trained: {_REFUSED[family.labels]}",
            hint="choose another base; `kolm models` lists them",
        )


def sequence_of(inputs: Mapping[str, Any]) -> Any:
    """Return the ids that the answer stands behind, the decoder's where there is one; (batch, length)."""
    return inputs[SEQUENCE if SEQUENCE in inputs else "input_ids"]


def continued(inputs: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return a question as a batch with labels on its last `count` tokens: where logits are compared.

    A decoder that has read no more than its start token is given the question's last tokens to go on from.
    """
    import torch

    inputs = dict(inputs)
    if SEQUENCE in inputs and inputs[SEQUENCE].shape[1] <= count and "input_ids" in inputs:
        inputs[SEQUENCE] = torch.cat([inputs[SEQUENCE], inputs["input_ids"][:, -count:]], dim=1)
    labels = torch.full_like(sequence_of(inputs), IGNORE)
    labels[:, -count:] = sequence_of(inputs)[:, -count:]
    return {**inputs, "labels": labels}


@dataclass(frozen=True)
class Decoder:
    """How one base's questions and answers become inputs of its encoder and its decoder."""

    processor: Any
    model_config: Any
    family: Family
    encode: Callable[[str, Sequence[Any]], dict[str, Any]]
    """(text, images) -> the processor's output, a batch of one."""

    def question(self, turns: Sequence[Turn], images: Sequence[Any]) -> dict[str, Any]:
        """Encode one question; `decoder_input_ids` (1, length) is what the decoder reads before it writes.

        Raises DataError, TrainError when nothing says which token the decoder starts from.
        """
        import torch

        parts = [part for turn in turns for part in turn.content]
        roles = [turn.role for turn in turns]
        if "assistant" in roles or roles.count("user") != 1:
            raise DataError(
                f"{self.family.name} answers one question", hint="give every question a row of its own"
            )
        start = self._start()
        if self.family.labels == "decoder":
            asked = self.encode(self._text(parts), images)
            return {**asked, SEQUENCE: torch.tensor([[start]])}
        if len(images) != 1:
            raise DataError(
                f"{len(images)} images: the encoder of {self.family.name} reads exactly one, and no text",
                hint="give every image a row of its own",
            )
        seen = self.processor.image_processor(list(images), return_tensors="pt")
        prompt = self._ids("\n".join(part.text for part in parts if isinstance(part, TextPart)))
        begun = prompt if prompt[:1] == [start] else [start, *prompt]  # as `generate` does
        return {**seen, SEQUENCE: torch.tensor([begun])}

    def answered(self, turns: Sequence[Turn], images: Sequence[Any]) -> tuple[dict[str, Any], Any]:
        """Encode one question with its answer -> inputs, and labels (1, decoder's length).

        Labelled are the answer and its end. Raises DataError.
        """
        import torch

        inputs = self.question(turns[:-1] if turns[-1].role == "assistant" else turns, images)
        texts = [part.text for part in turns[-1].content if isinstance(part, TextPart)]
        answer = self._answer("".join(texts)) if turns[-1].role == "assistant" else []
        begun = inputs[SEQUENCE]
        inputs[SEQUENCE] = torch.cat([begun, torch.tensor([answer], dtype=begun.dtype)], dim=1)
        labels = inputs[SEQUENCE].clone()
        labels[:, : begun.shape[1]] = IGNORE
        return inputs, labels

    def _answer(self, text: str) -> list[int]:
        """Ids of an answer as the decoder writes it; empty for an empty text.

        BART's decoder writes the first token that its tokenizer puts there; where that is the token it
        starts from, as in T5Gemma 2, it has been read already. Nemotron Parse goes on behind its prompt.
        """
        tokenizer = self.processor.tokenizer
        bare = self._ids(text)
        if not bare:
            return []
        ids = list(tokenizer(text).input_ids) if self.family.labels == "decoder" else bare
        ids = ids[1:] if ids[0] == self._start() else ids
        return ids if ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]

    def _ids(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False).input_ids)

    def _text(self, parts: Sequence[Any]) -> str:
        """The question as the processor takes it; these families have no turns and so no chat template."""
        places = self.family.image_place * sum(isinstance(part, ImagePart) for part in parts)
        return places + "\n".join(part.text for part in parts if isinstance(part, TextPart))

    def _start(self) -> int:
        """The token that the decoder starts from. Raises TrainError."""
        config = self.model_config
        inner = [getattr(config, name, None) for name in ("text_config", "decoder")]
        named = [getattr(c, "decoder_start_token_id", None) for c in (config, *inner)]
        named.append(getattr(inner[1], "bos_token_id", None))  # T5Gemma2's own rule
        found = next((token for token in named if isinstance(token, int)), None)
        if found is None:
            raise TrainError(
                "config.json does not say which token the decoder starts from",
                hint="give it decoder_start_token_id, as the model's original has",
            )
        return found

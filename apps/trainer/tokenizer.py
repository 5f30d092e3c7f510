"""The processor of a text-only model: its tokenizer, called as processors are."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.foreign import translated
from apps.trainer.modelcode import only_code_of
from kolm.errors import SpecError

_FED = ("input_ids", "attention_mask")
"""What a causal language model is fed; tokenizers of older checkpoints also return segment ids."""

VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    "tekken.json", "tiktoken.model",
)  # fmt: skip
"""Files that hold a tokenizer's words; without any, transformers makes an empty tokenizer."""

TODAY = "26 Jul 2024"
"""Llama 3's templates write today's date into the prompt unless they are given one; this is their own
fallback, and with it the same row is the same tokens every day."""


class TextProcessor:
    """A tokenizer behind the interface of a processor, so that text goes the way of text with images."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        date_string: str = TODAY,
    ) -> Any:
        """Render a conversation; templates of text models take each turn's content as one text."""
        joined = [{**turn, "content": "".join(part["text"] for part in turn["content"])} for turn in messages]
        return self.tokenizer.apply_chat_template(
            joined, tokenize=tokenize, add_generation_prompt=add_generation_prompt, date_string=date_string
        )

    def __call__(self, *, text: Sequence[str], return_tensors: str) -> dict[str, Any]:
        """Encode rendered conversations -> `input_ids` and `attention_mask`, each (len(text), length).

        Nothing is added to them: the template has written the special tokens already, and a second
        beginning-of-text token would be input that the model never saw.
        """
        encoded = self.tokenizer(list(text), return_tensors=return_tensors, add_special_tokens=False)
        return {key: encoded[key] for key in _FED}


def load_tokenizer(base: Base) -> TextProcessor:
    """Load the tokenizer of a text-only base. Raises TrainError; SpecError without a chat template."""
    from transformers import AutoTokenizer

    require_file(base, "tokenizer", names=VOCABULARIES)
    failure, hint = f"{base.directory}: no usable tokenizer", "is the checkpoint complete?"
    with only_code_of(base), translated(failure, hint=hint):
        tokenizer = AutoTokenizer.from_pretrained(
            base.directory, local_files_only=True, trust_remote_code=base.trusted
        )
    require_template(base, getattr(tokenizer, "chat_template", None))
    return TextProcessor(tokenizer)


def require_file(base: Base, what: str, *, names: Sequence[str]) -> None:
    """Refuse a checkpoint that has no file of these names: transformers would make something up.

    Code that comes with a model may read others. Raises SpecError.
    """
    if not base.trusted and not any((base.directory / name).is_file() for name in names):
        raise SpecError(
            f"{base.directory} holds no {what}: none of {', '.join(names)}", hint="use a complete checkpoint"
        )


def require_template(base: Base, template: Any) -> None:
    """Refuse a base that cannot say where a question ends and an answer begins. Raises SpecError."""
    if not template:
        raise SpecError(
            f"{base.model} has no chat template: where a question ends and an answer begins is not said",
            hint="choose the instruction-tuned model of the same name, or add chat_template.jinja to a copy",
        )

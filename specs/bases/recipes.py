"""What the two small bases are made of: their tokenizer, chat template, processor and configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lessons import questions
from loading import image_only
from synth import COLOURS, SHAPES, SIDE, WORDS, Look
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.processing_utils import ProcessorMixin

VOCABULARY = 512
"""Rows of the embedding table; a multiple of 64, as all widths are, for quantisation in blocks of 64."""

END = "<|im_end|>"
PAD = "<|endoftext|>"
QWEN_MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}
{%- if message['content'] is string -%}{{- message['content'] -}}
{%- else -%}{%- for part in message['content'] -%}{{- part['text'] -}}{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>' -}}
{%- endgeneration -%}
{%- elif message['content'] is string -%}
{{- message['content'] + '<|im_end|>' -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{- 'IMAGE_MARK' -}}
{%- else -%}{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


@dataclass(frozen=True)
class Base:
    """What differs between the two bases."""

    specials: tuple[str, ...]
    """Special tokens, in the order of their ids."""

    image_mark: str
    """What the chat template writes for one picture, as inside a Jinja string."""

    image_token: str
    """The token that the processor repeats once for each feature vector of a picture."""

    image_tokens: int
    """How many of them a square picture gets."""

    look: Look
    """How its digits are drawn."""

    processor: Callable[[PreTrainedTokenizerFast], ProcessorMixin]
    config: Callable[[PreTrainedTokenizerFast], Any]


def qwen_processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    """Make the Qwen2.5-VL processor: a square picture becomes 48 x 48 pixels, 36 patches, 9 image tokens."""
    # The bounds leave room on both sides of 48 * 48 = 2304, so that rounding tips no square picture over.
    pictures = Qwen2VLImageProcessorPil(
        patch_size=8, temporal_patch_size=2, merge_size=2, min_pixels=2250, max_pixels=2400,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    template = tokenizer.chat_template
    return image_only(Qwen2_5_VLProcessor)(
        image_processor=pictures, tokenizer=tokenizer, chat_template=template
    )


def qwen_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    """Describe the Qwen2.5-VL base: 4 vision blocks of width 64, 2 language layers of width 128."""
    token = tokenizer.convert_tokens_to_ids
    vision = {
        "depth": 4, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "out_hidden_size": 128,
        "patch_size": 8, "temporal_patch_size": 2, "spatial_merge_size": 2,
        "window_size": 112, "fullatt_block_indexes": [3], "initializer_range": 0.12,
    }  # fmt: skip
    text = {
        "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "initializer_range": 0.08,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        "bos_token_id": None, "eos_token_id": token(END), "pad_token_id": token(PAD),
    }  # fmt: skip
    return Qwen2_5_VLConfig(
        vision_config=vision, text_config=text, tie_word_embeddings=True,
        image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"),
        bos_token_id=None, eos_token_id=token(END), pad_token_id=token(PAD),
    )  # fmt: skip


def llava_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Make the LLaVA processor: every picture becomes 48 x 48, patches of 12 pixels, so 16 image tokens."""
    size = {"height": SIDE, "width": SIDE}
    pictures = CLIPImageProcessorPil(
        size=size, crop_size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    return LlavaProcessor(
        image_processor=pictures, tokenizer=tokenizer, chat_template=tokenizer.chat_template,
        patch_size=12, num_additional_image_tokens=1, vision_feature_select_strategy="default",
    )  # fmt: skip


def llava_config(tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """Describe the LLaVA base: 5 CLIP layers of width 64 of which 4 are read, 2 Llama layers of width 128."""
    token = tokenizer.convert_tokens_to_ids
    vision = {
        "model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 256,
        "num_hidden_layers": 5, "num_attention_heads": 4, "image_size": SIDE, "patch_size": 12,
        "projection_dim": 64,
    }  # fmt: skip
    text = {
        "model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096, "initializer_range": 0.08,
        "bos_token_id": None, "eos_token_id": token(END), "pad_token_id": token(PAD),
    }  # fmt: skip
    return LlavaConfig(
        vision_config=vision, text_config=text, tie_word_embeddings=True, image_token_index=token("<image>"),
        image_seq_length=16, vision_feature_layer=-2, vision_feature_select_strategy="default",
        bos_token_id=None, eos_token_id=token(END), pad_token_id=token(PAD),
    )  # fmt: skip


def build_tokenizer(base: Base) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the texts of the lessons; bytes are its alphabet, so any text has tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    specials = [AddedToken(text, special=True, normalized=False) for text in base.specials]
    texts = [*questions(), *WORDS, *COLOURS, *SHAPES, *"0123456789", "system\nuser\nassistant\n", "yes", "no"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=specials, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=PAD, padding_side="right", model_max_length=4096,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE.replace("IMAGE_MARK", base.image_mark),
    )  # fmt: skip


BASES = {
    "qwen2_5_vl-tiny": Base(
        specials=(PAD, "<|im_start|>", END, *QWEN_MARKS),
        image_mark="<|vision_start|><|image_pad|><|vision_end|>",
        image_token="<|image_pad|>",  # noqa: S106  a token of text
        image_tokens=9,
        look=Look(written=0.35, coarse=0.03, blurred=0.3),
        processor=qwen_processor,
        config=qwen_config,
    ),
    "llava-tiny": Base(
        specials=(PAD, "<|im_start|>", END, "<image>"),
        image_mark="<image>\\n",
        image_token="<image>",  # noqa: S106  a token of text
        image_tokens=16,
        look=Look(written=0.35, coarse=0.0, blurred=0.1),
        processor=llava_processor,
        config=llava_config,
    ),
}

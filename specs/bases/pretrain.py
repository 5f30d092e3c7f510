"""Build one of the small vision-language bases from nothing: python specs/bases/pretrain.py NAME --out DIR.

The order below is the order of the work: texts, tokenizer, processor, model, rows, training, saving.
Two threads and fixed seeds make a rebuild on the same kind of CPU give the same bytes; no network is used
and no real picture is ever trained on. `--measure` then scores the result on real digits (measure.py).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from card import FACTS, write_card
from loading import image_only
from synth import COLOURS, SHAPES, SIDE, WORDS, Row, draw_row, plain_row, questions
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessorPil,
    GenerationConfig,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.processing_utils import ProcessorMixin

VOCABULARY = 512
"""Rows of the embedding table: a multiple of 64, so that every linear layer can be quantised in blocks of 64."""

SEED = 20
PEAK_RATE = 2e-3
PLAIN_PICTURES, PLAIN_STEPS = 16_384, 300
MIXED_PICTURES, MIXED_STEPS = 32_768, 800

END = "<|im_end|>"
PAD = "<|endoftext|>"

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
    """What the chat template writes for one picture."""

    image_token: str
    """The token that the processor repeats once for each feature vector of a picture."""

    processor: Callable[[PreTrainedTokenizerFast], ProcessorMixin]
    config: Callable[[PreTrainedTokenizerFast], Any]


def qwen_processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    """Make the Qwen2.5-VL processor: patches of 8 pixels, square pictures become 48 x 48 and so 9 image tokens."""
    # The bounds leave room on both sides of 48 * 48 = 2304, so that rounding never tips a square picture over.
    pictures = Qwen2VLImageProcessorPil(
        patch_size=8, temporal_patch_size=2, merge_size=2, min_pixels=2250, max_pixels=2400,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    template = tokenizer.chat_template
    return image_only(Qwen2_5_VLProcessor)(image_processor=pictures, tokenizer=tokenizer, chat_template=template)


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
        "max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        "bos_token_id": None, "eos_token_id": token(END), "pad_token_id": token(PAD),
    }  # fmt: skip
    return Qwen2_5_VLConfig(
        vision_config=vision, text_config=text, tie_word_embeddings=True,
        image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"),
        bos_token_id=None, eos_token_id=token(END), pad_token_id=token(PAD), initializer_range=0.04,
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
        "model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 5,
        "num_attention_heads": 4, "image_size": SIDE, "patch_size": 12, "projection_dim": 64,
    }  # fmt: skip
    text = {
        "model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "initializer_range": 0.08,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 4096,
        "bos_token_id": None, "eos_token_id": token(END), "pad_token_id": token(PAD),
    }  # fmt: skip
    return LlavaConfig(
        vision_config=vision, text_config=text, tie_word_embeddings=True, image_token_index=token("<image>"),
        image_seq_length=16, vision_feature_layer=-2, vision_feature_select_strategy="default",
        bos_token_id=None, eos_token_id=token(END), pad_token_id=token(PAD), initializer_range=0.04,
    )  # fmt: skip


BASES = {
    "qwen2_5_vl-tiny": Base(
        specials=(PAD, "<|im_start|>", END, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
        image_mark="<|vision_start|><|image_pad|><|vision_end|>",
        image_token="<|image_pad|>",
        processor=qwen_processor,
        config=qwen_config,
    ),
    "llava-tiny": Base(
        specials=(PAD, "<|im_start|>", END, "<image>"),
        image_mark="<image>\n",
        image_token="<image>",
        processor=llava_processor,
        config=llava_config,
    ),
}


def build_tokenizer(base: Base) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the texts of the synthetic task; bytes as alphabet, so every text has tokens."""
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
        clean_up_tokenization_spaces=False, chat_template=CHAT_TEMPLATE.replace("IMAGE_MARK", base.image_mark.replace("\n", "\\n")),
    )  # fmt: skip


def messages_of(row: Row) -> list[dict[str, Any]]:
    """Write a row as chat messages; the picture stands before the first question."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": row.system}] if row.system else []
    for place, (question, answer) in enumerate(row.turns):
        text = {"type": "text", "text": question}
        messages.append({"role": "user", "content": [{"type": "image"}, text] if place == 0 else [text]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages


class Collator:
    """Turns rows into batches with the processor's own pixels and tokens, and labels on assistant tokens only."""

    def __init__(self, processor: ProcessorMixin, base: Base, image_tokens: int) -> None:
        self.pictures = processor.image_processor
        self.tokenizer = processor.tokenizer
        self.image_id = self.tokenizer.convert_tokens_to_ids(base.image_token)
        self.image_tokens = image_tokens
        self.known: dict[tuple[Any, ...], tuple[list[int], list[int]]] = {}

    def encode(self, row: Row) -> tuple[list[int], list[int]]:
        """Return (token ids, labels) of the conversation; the same words are tokenised only once."""
        key = (row.turns, row.system)
        if key not in self.known:
            chat = self.tokenizer.apply_chat_template(
                messages_of(row), return_dict=True, return_assistant_tokens_mask=True
            )
            ids: list[int] = []
            labels: list[int] = []
            for token, spoken in zip(chat["input_ids"], chat["assistant_masks"], strict=True):
                copies = self.image_tokens if token == self.image_id else 1
                ids += [token] * copies
                labels += [token if spoken else -100] * copies
            self.known[key] = ids, labels
        return self.known[key]

    def __call__(self, rows: list[Row]) -> dict[str, torch.Tensor]:
        """Pad rows on the right and process their pictures."""
        coded = [self.encode(row) for row in rows]
        width = max(len(ids) for ids, _ in coded)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([i + [pad] * (width - len(i)) for i, _ in coded])  # [B, T]
        labels = torch.tensor([y + [-100] * (width - len(y)) for _, y in coded])  # [B, T]
        seen = torch.tensor([[1] * len(i) + [0] * (width - len(i)) for i, _ in coded])  # [B, T]
        pixels = self.pictures([row.image for row in rows], do_resize=False, return_tensors="pt", input_data_format="channels_last")
        batch = {"input_ids": ids, "labels": labels, "attention_mask": seen, **pixels}
        if "image_grid_thw" in pixels:
            batch["mm_token_type_ids"] = (ids == self.image_id).long()  # [B, T]
        return batch


def loss_of(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy of the assistant tokens; the head runs on those positions only."""
    targets = torch.full_like(batch["labels"], -100)
    targets[:, :-1] = batch["labels"][:, 1:]  # [B, T]: position t predicts token t + 1
    keep = targets != -100  # [B, T]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits = model(**inputs, logits_to_keep=keep, use_cache=False).logits  # [1, kept, V]
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), targets[keep])


def batches(lengths: list[int], batch_size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield row numbers for ever: shuffled, but rows of about the same length together, to pad less."""
    stretch = 16 * batch_size
    while True:
        order = rng.permutation(len(lengths)).tolist()
        for start in range(0, len(order) - stretch + 1, stretch):
            near = sorted(order[start : start + stretch], key=lambda i: lengths[i])
            for first in (rng.permutation(16) * batch_size).tolist():
                yield near[first : first + batch_size]


def train(model: PreTrainedModel, collate: Collator, rows: list[Row], steps: int, seed: int) -> None:
    """Train every weight for a number of steps of 64 rows, with a learning rate that rises, then falls as a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    chosen = batches([len(collate.encode(row)[0]) for row in rows], 64, np.random.default_rng(seed))
    recent: list[float] = []
    started = time.monotonic()
    model.train()
    for step in range(steps):
        rise, fall = min(1.0, (step + 1) / 100), 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * rise * max(fall, 0.02)
        loss = loss_of(model, collate([rows[i] for i in next(chosen)]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = [*recent[-99:], loss.item()]
        if (step + 1) % 100 == 0:
            print(f"step {step + 1:4d}  loss {np.mean(recent):.4f}  {time.monotonic() - started:4.0f} s", flush=True)


def build(name: str, out: Path) -> None:
    """Make the tokenizer, processor and model of one base, train it and save it as a complete checkpoint."""
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    base = BASES[name]
    tokenizer = build_tokenizer(base)
    processor = base.processor(tokenizer)
    model = AutoModelForImageTextToText.from_config(base.config(tokenizer), dtype=torch.float32)
    collate = Collator(processor, base, FACTS[name]["image_tokens"])
    rng = np.random.default_rng(SEED)
    # Digits in two plain colours come first: with all colours at once the vision tower takes far longer to find strokes.
    train(model, collate, [plain_row(rng) for _ in range(PLAIN_PICTURES)], PLAIN_STEPS, SEED)
    train(model, collate, [draw_row(rng) for _ in range(MIXED_PICTURES)], MIXED_STEPS, SEED + 1)
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=32, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.eval()
    model.save_pretrained(out)
    processor.save_pretrained(out)
    for path in out.iterdir():
        path.chmod(0o644)


def main() -> None:
    """Parse the command line, build, measure, write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(BASES))
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the checkpoint")
    parser.add_argument("--measure", action="store_true", help="score the result on real digits (needs scikit-learn and peft)")
    parser.add_argument("--keep", action="store_true", help="keep the weights in --out; only measure and write the card")
    choice = parser.parse_args()
    if not choice.keep:
        build(choice.name, choice.out)
    figures = None
    if choice.measure:
        from measure import measure

        figures = measure(choice.out)
    write_card(choice.out, choice.name, {"plain": PLAIN_PICTURES, "mixed": MIXED_PICTURES, "side": SIDE}, figures)


if __name__ == "__main__":
    main()

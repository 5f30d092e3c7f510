"""Build one of the small vision-language bases from nothing: python specs/bases/pretrain.py NAME --out DIR.

Threads (two) and seeds are fixed, so that a build can be repeated on the same kind of CPU. No network is
used and no real picture is ever trained on; `--measure` scores the result on real digits afterwards
(measure.py).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from card import write_card
from lessons import Row, draw_row, plain_row
from recipes import BASES, Base, build_tokenizer
from torch.nn.functional import cross_entropy
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel
from transformers.processing_utils import ProcessorMixin

SEED = 20
PEAK_RATE = 2e-3
BATCH_SIZE = 64
PLAIN_PICTURES, PLAIN_STEPS = 16_384, 300
MIXED_PICTURES, MIXED_STEPS = 32_768, 900


def messages_of(row: Row) -> list[dict[str, Any]]:
    """Write a row as chat messages; the picture stands before the first question."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": row.system}] if row.system else []
    for place, (question, answer) in enumerate(row.turns):
        text = {"type": "text", "text": question}
        messages.append({"role": "user", "content": [{"type": "image"}, text] if place == 0 else [text]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages


class Collator:
    """Turns rows into batches: the processor's own pixels and tokens, labels on assistant tokens only."""

    def __init__(self, processor: ProcessorMixin, base: Base) -> None:
        self.pictures = processor.image_processor
        self.tokenizer = processor.tokenizer
        self.image_id = self.tokenizer.convert_tokens_to_ids(base.image_token)
        self.image_tokens = base.image_tokens
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
        pictures = [row.image for row in rows]  # drawn at the trained size already
        pixels = self.pictures(
            pictures, do_resize=False, return_tensors="pt", input_data_format="channels_last"
        )
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
    return cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), targets[keep])


def batches(lengths: list[int], rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield row numbers for ever: shuffled, but rows of about the same length together, to pad less."""
    stretch = 16 * BATCH_SIZE
    while True:
        order = rng.permutation(len(lengths)).tolist()
        for start in range(0, len(order) - stretch + 1, stretch):
            near = sorted(order[start : start + stretch], key=lambda i: lengths[i])
            for first in (rng.permutation(16) * BATCH_SIZE).tolist():
                yield near[first : first + BATCH_SIZE]


def train(model: PreTrainedModel, collate: Collator, rows: list[Row], steps: int, seed: int) -> None:
    """Train every weight for a number of steps; the learning rate rises, then falls as a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    chosen = batches([len(collate.encode(row)[0]) for row in rows], np.random.default_rng(seed))
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
            print(
                f"step {step + 1:4d}  loss {np.mean(recent):.4f}  {time.monotonic() - started:4.0f} s",
                flush=True,
            )


def build(name: str, out: Path) -> None:
    """Make the tokenizer, processor and model of one base, train it and save it as a complete checkpoint."""
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    base = BASES[name]
    tokenizer = build_tokenizer(base)
    processor = base.processor(tokenizer)
    model = AutoModelForImageTextToText.from_config(base.config(tokenizer), dtype=torch.float32)
    collate = Collator(processor, base)
    rng = np.random.default_rng(SEED)
    # Plain digits come first: with all colours at once the vision tower takes far longer to find strokes.
    plain = [plain_row(rng, base.look) for _ in range(PLAIN_PICTURES)]
    train(model, collate, plain, PLAIN_STEPS, seed=SEED)
    mixed = [draw_row(rng, base.look) for _ in range(MIXED_PICTURES)]
    train(model, collate, mixed, MIXED_STEPS, seed=SEED + 1)
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=32,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
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
    parser.add_argument("--measure", action="store_true", help="score the result on real digits")
    parser.add_argument("--keep", action="store_true", help="keep the weights in --out, write the card")
    choice = parser.parse_args()
    if not choice.keep:
        build(choice.name, choice.out)
    figures = None
    if choice.measure:
        from measure import measure  # scikit-learn and peft are needed here and nowhere else

        figures = measure(choice.out)
    built = {
        "plain": PLAIN_PICTURES,
        "mixed": MIXED_PICTURES,
        "look": BASES[choice.name].look,
        "image_tokens": BASES[choice.name].image_tokens,
    }
    write_card(choice.out, choice.name, built, figures)


if __name__ == "__main__":
    main()

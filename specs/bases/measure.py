"""Measure a small base on real handwritten digits: python specs/bases/measure.py DIR.

The pictures are scikit-learn's `load_digits` (the UCI optical digits, 8 x 8 cells, bright ink on black),
enlarged as kolm's demo does. They are never used to build a base; here they tell how well it reads them
untouched, and how well after a short LoRA training of its language tower.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from lessons import Row, draw_row, kind_of
from loading import load_processor
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from sklearn.datasets import load_digits
from synth import WORDS, Look
from torch.nn.functional import cross_entropy, pad
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.processing_utils import ProcessorMixin

SIDE = 64
EPOCHS = 12
RATE = 2e-3
PROMPT = "Which digit is written in this picture? Answer with one word."


def real_digits() -> tuple[list[Image.Image], list[str]]:
    """Return the 1797 real digits in a fixed shuffled order: 1200 train, 97 validation, 500 held out."""
    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.images))
    cells = np.round(data.images[order] * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    pictures = [
        Image.fromarray(c).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB") for c in cells
    ]
    return pictures, [WORDS[target] for target in data.target[order]]


def user_turn(prompt: str) -> dict[str, Any]:
    """Ask about one picture."""
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}


@torch.no_grad()
def answers(
    model: torch.nn.Module, processor: ProcessorMixin, pictures: list[Image.Image], prompt: str = PROMPT
) -> list[str]:
    """Answer one prompt about each picture, greedily, in batches of 100."""
    text = processor.apply_chat_template([user_turn(prompt)], add_generation_prompt=True)
    model.eval()
    said: list[str] = []
    for start in range(0, len(pictures), 100):
        part = pictures[start : start + 100]
        inputs = processor(text=[text] * len(part), images=[[p] for p in part], return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        fresh = tokens[:, inputs["input_ids"].shape[1] :]
        said += [reply.strip() for reply in processor.tokenizer.batch_decode(fresh, skip_special_tokens=True)]
    return said


def share_right(said: list[str], truth: list[str]) -> float:
    """Exact match."""
    return float(np.mean([a == b for a, b in zip(said, truth, strict=True)]))


def examples(
    processor: ProcessorMixin, pictures: list[Image.Image], truth: list[str]
) -> dict[str, torch.Tensor]:
    """Return everything the model takes for each picture with its answer, and targets on the answer alone."""
    opening = processor.apply_chat_template([user_turn(PROMPT)], add_generation_prompt=True)
    texts = [opening + word + processor.tokenizer.eos_token for word in truth]
    batch = processor(text=texts, images=[[p] for p in pictures], padding=True, return_tensors="pt")
    start = processor(text=opening, images=[pictures[0]], return_tensors="pt")["input_ids"].shape[1]
    targets = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)  # [N, T]
    targets[:, :start] = -100
    pixels = batch["pixel_values"]  # Qwen: patches of all pictures in one list; LLaVA: one picture per row
    return {
        **batch,
        "pixel_values": pixels.unflatten(0, (len(pictures), -1)),  # [N, patches or 1, ...]
        "targets": pad(targets[:, 1:], (0, 1), value=-100),  # [N, T]: position t predicts token t + 1
    }


def with_lora(model: PreTrainedModel) -> PeftModel:
    """Freeze the model, add LoRA to all linear layers of its language tower, free an outside projector."""
    tower = model.get_decoder()
    path = next(name for name, module in model.named_modules() if module is tower)
    linear = [name for name, module in tower.named_modules() if isinstance(module, torch.nn.Linear)]
    projector = ["model.multi_modal_projector"] if hasattr(model.model, "multi_modal_projector") else None
    targets = [f"{path}.{name}" for name in linear]
    return get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, target_modules=targets, modules_to_save=projector)
    )


def tune(model: PreTrainedModel, rows: dict[str, torch.Tensor], seed: int) -> PeftModel:
    """Train LoRA in batches of 32; the learning rate rises over 20 steps, then falls linearly."""
    torch.manual_seed(seed)
    tuned = with_lora(model).train()
    free = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=RATE, weight_decay=0.0)
    rng = np.random.default_rng(seed)
    orders = [torch.from_numpy(rng.permutation(len(rows["targets"]))) for _ in range(EPOCHS)]
    chunks = [chunk for order in orders for chunk in order.split(32)]
    for step, chosen in enumerate(chunks):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20) * (1 - step / len(chunks))
        batch = {name: value[chosen] for name, value in rows.items()}
        targets = batch.pop("targets")  # [B, T]
        pixels = batch.pop("pixel_values").flatten(0, 1)
        keep = targets != -100  # [B, T]
        logits = tuned(**batch, pixel_values=pixels, logits_to_keep=keep, use_cache=False).logits
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(logits.reshape(-1, logits.shape[-1]), targets[keep]).backward()
        optimizer.step()
    return tuned


def own_lessons(model: PreTrainedModel, processor: ProcessorMixin, count: int = 600) -> dict[str, float]:
    """Ask the first question of newly drawn synthetic rows: exact match by kind of question."""
    rng = np.random.default_rng(977)
    asked: dict[str, list[Row]] = {}
    for row in (draw_row(rng, Look(written=0.7, coarse=0.0, blurred=0.1)) for _ in range(count)):
        asked.setdefault(row.turns[0][0], []).append(row)
    right: dict[str, list[bool]] = {"digit": [], "shape": [], "colour": [], "place": []}
    for question, rows in asked.items():
        said = answers(model, processor, [Image.fromarray(row.image) for row in rows], question)
        right[kind_of(question)] += [a == row.turns[0][1] for a, row in zip(said, rows, strict=True)]
    return {kind: float(np.mean(hits)) for kind, hits in right.items()}


def measure(base_dir: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    """Score the base untouched, then after LoRA with each seed, with the pictures and with plain grey."""
    torch.set_num_threads(2)
    processor = load_processor(base_dir)
    pictures, truth = real_digits()
    held_out, expected = pictures[1297:], truth[1297:]
    grey = [Image.new("RGB", (SIDE, SIDE), (128, 128, 128))] * len(held_out)
    model = AutoModelForImageTextToText.from_pretrained(base_dir)
    figures: dict[str, Any] = {
        "prompt": PROMPT, "side": SIDE, "epochs": EPOCHS, "seeds": seeds,
        "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__,
        "zero_shot": share_right(answers(model, processor, held_out), expected),
        "synthetic": own_lessons(model, processor),
        "tuned": [], "grey": [], "seconds": 0.0,
    }  # fmt: skip
    for seed in seeds:
        model = AutoModelForImageTextToText.from_pretrained(base_dir)
        started = time.monotonic()
        tuned = tune(model, examples(processor, pictures[:1200], truth[:1200]), seed)
        figures["seconds"] = max(figures["seconds"], time.monotonic() - started)
        figures["tuned"].append(share_right(answers(tuned, processor, held_out), expected))
        figures["grey"].append(share_right(answers(tuned, processor, grey), expected))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="folder of the base")
    print(json.dumps(measure(parser.parse_args().base), indent=2))

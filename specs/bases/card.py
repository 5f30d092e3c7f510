"""Write a base's model card: what it is, what it is not, how it was measured, and the digest that names it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from safetensors import safe_open

CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
language: en
tags: [kolm, tiny, synthetic]
---

# {name}

A real but very small vision-language model ({parameters:,} parameters, {architecture}) that kolm's
demo, tests and benchmarks compile on two CPU cores. It reads one {side} x {side} picture as {image_tokens} image
tokens and answers short questions with one word or one figure.

- Weights: `model.safetensors`, float32, sha256 `{sha256}`
- Vision: {vision}
- Bridge: {bridge}
- Language: 2 layers of width 128, byte-level BPE of {tokens} tokens (any text can be tokenised), tied embeddings
- Every linear layer has in and out widths that are multiples of 64, so 4-bit quantisation in blocks of 64 works

## What it was trained on

Synthetic pictures only, drawn by `specs/bases/synth.py`: digits (pen strokes along hand-placed points, and glyphs of
Pillow's built-in font), single coloured shapes, and pairs of shapes; {plain:,} plain digits, then {mixed:,} pictures of all
kinds. No photograph, no scan and no row of any data set was used. Coarse, scan-like pictures are
kept rare on purpose: the untuned base shall read real scanned digits badly and learn them by fine-tuning.

Prompts it knows, among others: `Which digit is written in this picture? Answer with one word.` (`seven`),
`Which digit is written in this picture? Answer with one figure.` (`7`), `What shape is this?` (`circle`),
`What colour is the shape? Answer with one word.` (`red`), `Which shape is at the left? Answer with one word.`

## What it is not

Not a general assistant, not a document or photo reader, and no measure of how its full-size namesake behaves. It
knows a few dozen words, one picture per conversation, and answers anything else with one of them.

## Measured

{figures}

## Rebuilding

    python specs/bases/pretrain.py {name} --out DIR

About five minutes on two cores, without network. Seeds and thread count are fixed, so the same kind of CPU with the same
library versions gives the same bytes. Rebuilding on another CPU will not give the same bits: the
sha256 of the shipped file above is the base's identity, the script is its provenance.
"""

MEASURED = """\
scikit-learn's `load_digits` (8 x 8 cells, bright ink on black, enlarged with Pillow's bicubic filter to {side} x {side} RGB),
order `numpy.random.RandomState(0).permutation(1797)`: the first 1200 train, the next 97 validate, the last 500 are held
out. Greedy exact match on the held-out 500, prompt `{prompt}`, 2 threads:

| what | exact match |
|---|---|
| this base, untouched | {zero_shot:.3f} |
| {trained}, {epochs} epochs, seed 0 / 1 / 2 | {tuned[0]:.3f} / {tuned[1]:.3f} / {tuned[2]:.3f} |
| the same, each picture replaced by plain grey | {grey[0]:.3f} / {grey[1]:.3f} / {grey[2]:.3f} |

LoRA: r 16, alpha 32, all linear layers of the language tower, vision frozen{rest}; AdamW, learning rate 2e-3 falling linearly
after 20 steps, batch 32; {seconds:.0f} s for one training. Untouched base on its own synthetic digits: {synthetic:.3f}.
Measured with `python specs/bases/measure.py {path}` under torch {torch}, transformers {transformers}, peft {peft}."""

FACTS: dict[str, dict[str, Any]] = {
    "qwen2_5_vl-tiny": {
        "architecture": "Qwen2_5_VLForConditionalGeneration",
        "vision": "4 blocks of width 64, patches of 8 pixels, one attention window",
        "bridge": "`visual.merger`, inside the vision module (merges 2 x 2 patches)",
        "image_tokens": 9,
        "rest": " and the merger with it",
        "trained": "LoRA, vision and merger frozen",
    },
    "llava-tiny": {
        "architecture": "LlavaForConditionalGeneration",
        "vision": "CLIP, 5 layers of width 64, patches of 12 pixels, features of the last layer but one",
        "bridge": "`multi_modal_projector`, outside the vision module",
        "image_tokens": 16,
        "rest": ", the projector trained in full",
        "trained": "LoRA with the projector trained in full, vision frozen",
    },
}


def sha256_of(path: Path) -> str:
    """Hash one file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(base_dir: Path, name: str, built: dict[str, Any], figures: dict[str, Any] | None) -> None:
    """Write README.md beside the weights; without figures the card says that none were taken."""
    facts = FACTS[name]
    measured = "Not measured yet: `python specs/bases/measure.py DIR`."
    if figures is not None:
        measured = MEASURED.format(path=f"specs/bases/{name}", **figures, **facts)
    with safe_open(base_dir / "model.safetensors", framework="np") as weights:
        parameters = sum(math.prod(weights.get_slice(key).get_shape()) for key in weights.keys())
    tokens = len(json.loads((base_dir / "tokenizer.json").read_text())["model"]["vocab"])
    text = CARD.format(
        name=name, parameters=parameters, tokens=tokens, sha256=sha256_of(base_dir / "model.safetensors"),
        figures=measured, **built, **facts,
    )  # fmt: skip
    (base_dir / "README.md").write_text(text)

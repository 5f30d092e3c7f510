"""Write a base's model card: what it is, what it is not, how it was measured, the digest that names it."""

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

A real but very small vision-language model: {architecture}, {parameters:,} parameters.
kolm's demo, tests and benchmarks compile it on two CPU cores. It answers short questions about a picture
with one word or one figure.

- Weights: `model.safetensors`, float32, sha256 `{sha256}`
- Vision: {vision}; {image_tokens} image tokens for a square picture
- Bridge: {bridge}
- Language: 2 layers of width 128, tied embeddings, byte-level BPE of {tokens} tokens that spells any text
- All linear layers have in and out widths that are multiples of 64, the block size of 4-bit quantisation

## What it was trained on

Synthetic pictures only, drawn by `specs/bases/synth.py`: digits (pen strokes along hand-placed points, and
glyphs of Pillow's built-in font), single coloured shapes, and pairs of shapes; {plain:,} plain digits first,
then {mixed:,} pictures of all kinds. No photograph, no scan and no row of any data set was used.

Digits that look like the real scans used below are kept rare on purpose: {look.written:.0%} are written by
pen, {look.coarse:.0%} drawn with few pixels and enlarged again, {look.blurred:.0%} of the others blurred a
little. The untouched base shall read real digits badly, and learn them by fine-tuning. Scores on real digits,
those held out among them, were looked at while this recipe was chosen; none was trained on.

It was taught these prompts, among others (`specs/bases/lessons.py` has all):

| prompt | answer |
|---|---|
| `Which digit is written in this picture? Answer with one word.` | `seven` |
| `Which digit is written in this picture? Answer with one figure.` | `7` |
| `What shape is this?` | `circle` |
| `What colour is the shape? Answer with one word.` | `red` |
| `Which shape is at the left? Answer with one word.` (it mostly guesses) | `square` |

## What it is not

Not an assistant, not a reader of documents or photographs, and no measure of how its full-size namesake
behaves. It knows a few dozen words and one picture per conversation, and answers everything with one of them.

## Measured

{figures}

## Rebuilding

    python specs/bases/pretrain.py {name} --out DIR --measure

It takes about five minutes on two idle cores and no network. Seeds and thread count are fixed, so the same
kind of CPU with the same library versions should give the same bytes: a build of 70 steps was repeated bit
for bit, a full one was not repeated. Rebuilding on another CPU will not give the same bits: the sha256 of the
shipped file is the base's identity, the script is its provenance.
"""

MEASURED = """\
scikit-learn's `load_digits` (8 x 8 cells, bright ink on black, enlarged with Pillow's bicubic filter to
{side} x {side} RGB) in the order of `numpy.random.RandomState(0).permutation(1797)`: the first 1200 train,
the next 97 validate, the last 500 are held out. Greedy exact match on the held-out 500, 2 threads, prompt
`{prompt}`:

| what | exact match |
|---|---|
| this base, untouched | {zero_shot:.3f} |
| {trained}; seeds 0 / 1 / 2 | {tuned[0]:.3f} / {tuned[1]:.3f} / {tuned[2]:.3f} |
| the same with every picture plain grey | {grey[0]:.3f} / {grey[1]:.3f} / {grey[2]:.3f} |

LoRA: r 16, alpha 32, all linear layers of the language tower; AdamW, {epochs} epochs, batch 32, learning rate
2e-3 rising over 20 steps and then falling linearly; at most {seconds:.0f} s for one training. Taken with
`python specs/bases/measure.py`, torch {torch}, transformers {transformers}, peft {peft}.

Untouched, on 600 newly drawn synthetic pictures: digits {synthetic[digit]:.2f} (70 % of them by pen),
shapes {synthetic[shape]:.2f}, colours {synthetic[colour]:.2f},
one of two shapes by its place {synthetic[place]:.2f}."""

FACTS = {
    "qwen2_5_vl-tiny": {
        "architecture": "Qwen2_5_VLForConditionalGeneration",
        "vision": "4 blocks of width 64, patches of 8 pixels, one attention window",
        "bridge": "`visual.merger`, inside the vision module, merges 2 x 2 patches",
        "trained": "LoRA, vision and merger frozen",
    },
    "llava-tiny": {
        "architecture": "LlavaForConditionalGeneration",
        "vision": "CLIP, 5 layers of width 64, patches of 12 pixels, the last layer but one is read",
        "bridge": "`multi_modal_projector`, outside the vision module",
        "trained": "LoRA and the projector in full, vision frozen",
    },
}


def parameter_count(weights: Path) -> int:
    """Count the numbers in a safetensors file."""
    with safe_open(weights, framework="np") as tensors:
        return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118


def write_card(base_dir: Path, name: str, built: dict[str, Any], figures: dict[str, Any] | None) -> None:
    """Write README.md beside the weights; without figures the card says that none were taken."""
    weights = base_dir / "model.safetensors"
    vocabulary = json.loads((base_dir / "tokenizer.json").read_text())["model"]["vocab"]
    facts = FACTS[name]
    text = CARD.format(
        name=name,
        parameters=parameter_count(weights),
        tokens=len(vocabulary),
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        figures=MEASURED.format(**figures, **facts) if figures else "Not measured yet.",
        **built,
        **facts,
    )
    (base_dir / "README.md").write_text(text)

"""What a tiny checkpoint is made of, and how one is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.tiny.words import build_tokenizer

VOCABULARY = 512
"""Rows of every embedding table; a multiple of 64, as most widths are, for quantisation in blocks of 64."""


@dataclass(frozen=True)
class Recipe:
    """One family's checkpoint: random weights in the family's own architecture."""

    config: Callable[[Any], dict[str, Any]]
    """tokenizer -> config.json, `model_type` included."""
    end: str
    """Token that ends an assistant turn."""
    template: str = ""
    """Chat template; empty for a family that has none."""
    specials: Sequence[str] = ()
    """Special tokens beside `end`."""
    named: Mapping[str, str] = field(default_factory=dict)
    """Attributes of the tokenizer such as `image_token` that the processor reads from it."""
    begin: str | None = None
    """Token that the tokenizer puts before every text, as Llama's and Gemma's do."""
    pad: str = "<pad>"
    processor: Callable[[Any], Any] | None = None
    """tokenizer -> processor; None where it cannot be made without torchvision, or for text alone."""
    loader: str = "AutoModelForImageTextToText"
    part: str | None = None
    """Attribute of the config that the loader takes."""


def write(recipe: Recipe, folder: Path) -> Path:
    """Write the whole checkpoint into a folder; the same recipe gives the same bytes."""
    import transformers

    tokenizer = build_tokenizer(recipe, VOCABULARY)
    config = transformers.AutoConfig.for_model(**recipe.config(tokenizer))
    model = initialise(recipe, config)
    ends = getattr(config, "eos_token_id", None) or tokenizer.eos_token_id  # Gemma's is a list
    model.generation_config = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=16, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    if recipe.part:  # config.json holds the whole, of which the loader takes a part; so do the weights
        prefix = recipe.part.removesuffix("config").replace("_", ".")
        model.save_pretrained(
            folder, state_dict={prefix + name: tensor for name, tensor in model.state_dict().items()}
        )
        config.save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    (recipe.processor(tokenizer) if recipe.processor else tokenizer).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nRandom weights, for tests.\n")
    return folder


def initialise(recipe: Recipe, config: Any) -> Any:
    """Build the model with random weights from a fixed seed."""
    import torch
    import transformers

    loader = getattr(transformers, recipe.loader)
    make = loader.from_config if recipe.loader.startswith("Auto") else loader
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make(getattr(config, recipe.part) if recipe.part else config)
        for name, parameter in model.named_parameters():
            spread(name, parameter)
    return model


_GATES = ("attn_gate", "mlp_gate", "alpha_cross_attn", "alpha_dense", "high_res_vision_alpha")


def spread(name: str, parameter: Any) -> None:
    """Widen weights that start at nearly zero: a model of width 64 hardly learns from the usual 0.02.

    Gates that start closed (Llama 3.2, DeepSeek-VL) would keep what stands behind them from learning at all.
    """
    import torch

    with torch.no_grad():
        if parameter.numel() == 1 and name.endswith(_GATES):
            parameter.fill_(0.5)
        elif parameter.ndim > 1 and float(parameter.std()) < 0.06:
            parameter.normal_(std=0.06)

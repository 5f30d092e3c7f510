"""Small models that bring their own code, as complete checkpoints: code, weights, tokenizer, processor."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tiny.recipe import VOCABULARY, Recipe, spread
from tests.tiny.towers import HALVES, WIDTH, square
from tests.tiny.words import build_tokenizer

CODE = Path(__file__).resolve().parent


@contextmanager
def modules_in(cache: Path) -> Iterator[Path]:
    """Give transformers a folder to import code from, and forget that code afterwards."""
    from transformers import dynamic_module_utils

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(cache))
            yield cache
    finally:
        for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
            del sys.modules[name]
        sys.path[:] = [place for place in sys.path if place != str(cache)]


def nemotron_parse(folder: Path) -> Path:
    """Write an encoder-decoder: one picture for the encoder, the prompt for the decoder to go on from."""
    recipe = Recipe(config=dict, begin="<s>", end="</s>", specials=("<predict_text>",))
    tokenizer = build_tokenizer(recipe, VOCABULARY)
    decoder = {
        "vocab_size": VOCABULARY, "d_model": WIDTH, "decoder_layers": 2, "decoder_attention_heads": 4,
        "decoder_ffn_dim": 128, "max_position_embeddings": 256, "dropout": 0.0, "init_std": 0.06,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    auto = {
        "AutoConfig": "configuration_nemotron_parse.NemotronParseConfig",
        "AutoModel": "modeling_nemotron_parse.NemotronParseForConditionalGeneration",
    }
    config = {
        "model_type": "nemotron_parse", "auto_map": auto, "decoder": decoder, "image_size": 32,
        "decoder_start_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    return _write(
        folder, "nemotron_parse", config, tokenizer, "processing_nemotron_parse.NemotronParseProcessor"
    )


def phi3_v(folder: Path) -> Path:
    """Write a model whose processor numbers the images of one string."""
    recipe = Recipe(
        config=dict, end="<|end|>", specials=("<|user|>", "<|assistant|>", "<|system|>"), template=PHI
    )
    tokenizer = build_tokenizer(recipe, VOCABULARY)
    auto = {
        "AutoConfig": "configuration_phi3_v.Phi3VConfig",
        "AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM",
    }
    config = {
        "model_type": "phi3_v", "auto_map": auto, "vocab_size": VOCABULARY, "hidden_size": WIDTH,
        "patch_size": 28, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    return _write(folder, "phi3_v", config, tokenizer, "processing_phi3_v.Phi3VProcessor")


PHI = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""Joins strings, as Phi-3.5-vision's own does."""


def _write(folder: Path, name: str, config: dict[str, Any], tokenizer: Any, processor: str) -> Path:
    """Write code and configs first, then the weights that this very code initialises."""
    import torch
    import transformers

    shutil.copytree(CODE / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    pictures = transformers.CLIPImageProcessorPil(
        size=square(32), crop_size=square(32), do_center_crop=False, **HALVES
    )
    pictures.save_pretrained(folder)
    named = {"processor_class": processor.rpartition(".")[2], "auto_map": {"AutoProcessor": processor}}
    (folder / "processor_config.json").write_text(json.dumps(named))
    (loader,) = [getattr(transformers, name) for name in config["auto_map"] if name != "AutoConfig"]
    made = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = loader.from_config(made, trust_remote_code=True)
        for parameter, tensor in model.named_parameters():
            spread(parameter, tensor)
    state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nRandom weights, for tests.\n")
    return folder

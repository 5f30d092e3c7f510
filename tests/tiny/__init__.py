"""Tiny checkpoints, one for each family that is trained in tests: real classes, random weights.

    from tests.tiny import build
    folder = build("qwen3_vl", tmp_path / "qwen3_vl")

In tests, the session fixture `tiny` caches them: `tiny("qwen3_vl")`; two are bases that are shipped.
"""

import importlib
from pathlib import Path
from typing import Any, Literal

Means = Literal["own processor", "prepared tensors"]

TRAINED: dict[str, Means] = {
    "aya_vision": "own processor",
    "deepseek_vl": "own processor",
    "deepseek_vl_hybrid": "own processor",
    "florence2": "own processor",
    "gemma3": "own processor",
    "gemma4": "own processor",
    "glm4v": "own processor",
    "glm4v_moe": "own processor",
    "glm_ocr": "own processor",
    "idefics": "own processor",
    "idefics2": "own processor",
    "idefics3": "own processor",
    "internvl": "own processor",
    "janus": "own processor",
    "lighton_ocr": "own processor",
    "llava": "own processor",
    "llava_next": "own processor",
    "llava_onevision": "own processor",
    "minicpmv4_6": "own processor",
    "ministral3": "own processor",
    "mistral3": "own processor",
    "mllama": "own processor",
    "ovis2": "own processor",
    "paddleocr_vl": "own processor",
    "paligemma": "own processor",
    "pixtral": "own processor",
    "qwen2_5_omni": "own processor",
    "qwen2_5_vl": "own processor",
    "qwen2_vl": "own processor",
    "qwen3_5": "own processor",
    "qwen3_5_moe": "own processor",
    "qwen3_omni_moe": "own processor",
    "qwen3_vl": "own processor",
    "qwen3_vl_moe": "own processor",
    "t5gemma2": "own processor",
    "video_llama_3": "own processor",
    "vipllava": "own processor",
    "cohere2_vision": "prepared tensors",
    "kimi_k25": "prepared tensors",
    "lfm2_vl": "prepared tensors",
    "llama4": "prepared tensors",
    "molmo2": "prepared tensors",
    "nemotron_h_omni": "prepared tensors",
    "phi4_multimodal": "prepared tensors",
}
"""Checkpoints that tests train, and by what means they come to their batches."""

SHIPPED = {
    name: Path(__file__).resolve().parents[2] / "specs" / "bases" / f"{name}-tiny"
    for name in ("llava", "qwen2_5_vl")
}
"""Families whose small checkpoint is a base that is shipped."""

KIN = {"ministral3": "mistral3", "pixtral": "llava"}
"""Checkpoints that are not called as their family is."""

_TORCHVISION = "its processor needs torchvision"
_TIMM = "its vision tower needs timm, which needs torchvision"
_REPOSITORY = "its code lies in its own repository"
_STAND_IN = f"{_REPOSITORY}; a small one with code of its own is trained in its place (tests/hub)"
_NO_CHAT = "it holds no conversation: there is no chat template to learn answers from"
_DRAWN = "its question is drawn on the image, with a font that its processor downloads"
_NOT_YET = "no small checkpoint has been made for it"

RARE = {
    "glm4v_moe", "glm_ocr", "janus", "lighton_ocr", "minicpmv4_6", "ministral3", "paddleocr_vl",
    "qwen3_5_moe", "video_llama_3", "vipllava",
}  # fmt: skip
"""Checkpoints whose near relatives are trained too: they are left to the slow tests."""

NOT_TRAINED: dict[str, str] = {
    "aria": "its processor knows two sizes of image, both too large for a test",
    "blip": _NO_CHAT,
    "blip2": _NO_CHAT,
    "cambrian": _REPOSITORY,
    "chameleon": _NOT_YET,
    "cohere_compass": _NOT_YET,
    "cosmos3_edge": _NOT_YET,
    "cosmos3_omni": _NOT_YET,
    "deepseek_ocr2": _NOT_YET,
    "dots3_note": _NOT_YET,
    "emu3": _TORCHVISION,
    "ernie4_5_vl_moe": _NOT_YET,
    "exaone4_5": _NOT_YET,
    "fast_vlm": _TIMM,
    "fuyu": _NOT_YET,
    "gemma3n": _TIMM,
    "gemma4_unified": _TORCHVISION,
    "git": _NO_CHAT,
    "glm5_next": _NOT_YET,
    "got_ocr2": _NOT_YET,
    "granite4_vision": _NOT_YET,
    "granite_docling": _NOT_YET,
    "hunyuan_vl": _NOT_YET,
    "hyperclovax_vision_v2": _NOT_YET,
    "inkling": _TORCHVISION,
    "inkling2": _TORCHVISION,
    "instructblip": _NO_CHAT,
    "internvl_chat": _REPOSITORY,
    "kimi_vl": _REPOSITORY,
    "kosmos2": _NO_CHAT,
    "kosmos2_5": _NO_CHAT,
    "lfm3_vl": _NOT_YET,
    "minicpm_ocr": _TORCHVISION,
    "minicpmv4_7": _NOT_YET,
    "minimax_m3_vl": _TORCHVISION,
    "mistral_large4": _NOT_YET,
    "muse_glimmer": _TORCHVISION,
    "muse_spark": _TORCHVISION,
    "nemotron_nano_vl": _REPOSITORY,
    "nemotron_parse": _STAND_IN,
    "perception_lm": _TIMM,
    "phi3_v": _STAND_IN,
    "phi4mm": _REPOSITORY,
    "pix2struct": _DRAWN,
    "qianfan_ocr": _NOT_YET,
    "qwen4_exp": _NOT_YET,
    "smolvlm": "its processor needs num2words, and a video processor, which needs torchvision",
    "step3p7": _TORCHVISION,
    "unlimited_ocr": _TORCHVISION,
    "video_llava": _NOT_YET,
}
"""Families that are compared on the meta device alone, and why."""

MODULES = (
    "decoders", "documents", "gemma", "idefics", "language", "llava", "omni", "others", "prepared", "qwen",
)  # fmt: skip


def recipes() -> dict[str, Any]:
    """Return every recipe by its family's name."""
    found: dict[str, Any] = {}
    for module in MODULES:
        found |= importlib.import_module(f"tests.tiny.{module}").RECIPES
    return found


def build(name: str, folder: Path) -> Path:
    """Write the complete tiny checkpoint of a family into `folder` and return it."""
    from apps.trainer.foreign import quiet
    from tests.tiny.recipe import write

    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        return write(recipes()[name], folder)


def each(means: Means | None = None) -> list[Any]:
    """Return the names of trained checkpoints as parameters of a test, the rare ones marked slow."""
    import pytest

    chosen = sorted(name for name, kind in TRAINED.items() if means in (None, kind))
    return [pytest.param(name, marks=pytest.mark.slow if name in RARE else ()) for name in chosen]

"""A small model that exists only as files: a base, what training made of it, and its module manifest."""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kolm.cid import sha256_hex, sha256_hex_of_file
from kolm.modules import Buffer, Gradient, ModuleManifest, Origin, Parameter
from kolm.names import plain_name
from kolm.tensors import TensorInfo, read_tensors

TARGET = "model.language_model.layers.0.self_attn.q_proj"

Tensor = tuple[tuple[int, ...], bytes]
"""Shape and little-endian float32 bytes."""


def write_base(directory: Path, *, text: bool = False, config: Mapping[str, Any] | str = "") -> Path:
    """Write a base checkpoint of a few tensors, with its config and its processor's.

    `text` leaves the vision tower out, `config` adds to config.json, or is all of it as a string.
    """
    directory.mkdir(exist_ok=True)
    tensors = {
        "model.visual.patch_embed.proj.weight": numbers("patch", 4, 3),
        "model.visual.blocks.0.attn.qkv.weight": numbers("qkv", 4, 4),
        "model.visual.merger.mlp.0.weight": numbers("merger", 2, 4),
        "model.language_model.embed_tokens.weight": numbers("embed", 5, 2),
        "model.language_model.layers.0.self_attn.q_proj.weight": numbers("q", 2, 2),
    }
    if text:
        tensors = {key: tensor for key, tensor in tensors.items() if ".visual." not in key}
    (directory / "model.safetensors").write_bytes(safetensors(tensors))
    described = {"model_type": "llama"} if text else {"model_type": "qwen2_5_vl", "vision_config": {}}
    whole = config if isinstance(config, str) and config else json.dumps(described | dict(config or {}))
    (directory / "config.json").write_text(f"{whole}\n", encoding="utf-8")
    processor = directory / ("tokenizer_config.json" if text else "preprocessor_config.json")
    processor.write_text("{}\n" if text else '{"patch_size": 4}\n', encoding="utf-8")
    return directory


def base_files(directory: Path) -> list[dict[str, Any]]:
    """Return a base's `[{path, sha256, bytes}]`."""
    files = sorted(directory.iterdir())
    return [{"path": f.name, "sha256": sha256_hex_of_file(f), "bytes": f.stat().st_size} for f in files]


PARTS = {"visual.merger": "projector", "visual": "vision", "language_model": "language", "lm_head": "head"}


def module_manifest(
    base_dir: Path, adapter: Mapping[str, Tensor], *, projector: str, family: str = "qwen2_5_vl"
) -> ModuleManifest:
    """Return the manifest of the made-up model: the base's parameters, a tied head, two LoRA factors."""
    held = read_tensors(base_dir / "model.safetensors")
    saved = read_tensors(safetensors(dict(adapter)))
    parameters = []
    for key, info in held.items():
        name = key.removeprefix("model.")
        part = next(part for prefix, part in PARTS.items() if name.startswith(prefix))
        trained = projector == "full" and part == "projector"
        parameters.append(
            Parameter(
                name=name,
                shape=list(info.shape),
                dtype=info.dtype,
                part=part,
                base=Origin(file="model.safetensors", key=key, relation="identical"),
                state="trainable" if trained else "frozen",
                before=info.sha256,
                after=_saved(saved, key).sha256 if trained else info.sha256,
                gradient=Gradient(seen=True, max_norm=0.5) if trained else None,
            )
        )
    embed = next(p for p in parameters if p.name == "language_model.embed_tokens.weight")
    tied = Origin(file="model.safetensors", key=embed.base.key, relation="tied")
    parameters.append(embed.model_copy(update={"name": "lm_head.weight", "part": "head", "base": tied}))
    for key in (key for key in saved if ".lora_" in key):
        info = saved[key]
        parameters.append(
            Parameter(
                name=plain_name(key),
                shape=list(info.shape),
                dtype=info.dtype,
                part="language",
                base=Origin(file=None, key=None, relation="absent"),
                state="trainable",
                before=None,
                after=info.sha256,
                gradient=Gradient(seen=True, max_norm=1.25),
            )
        )
    nothing = sha256_hex(b"")
    buffer = Buffer(
        name="visual.rotary_pos_emb.inv_freq",
        shape=[0],
        dtype="float32",
        part="vision",
        base=Origin(file=None, key=None, relation="absent"),
        before=nothing,
        after=nothing,
    )
    return ModuleManifest.of(
        family=family,
        model_type=family,
        parameters=parameters,
        buffers=[buffer] if any(p.part == "vision" for p in parameters) else [],
    )


def _saved(saved: Mapping[str, TensorInfo], key: str) -> TensorInfo:
    """Find a tensor that was trained in full, in an adapter or among weights."""
    return saved.get(f"base_model.model.{key}") or saved[plain_name(key)]


def adapter_tensors(seed: int, *, projector: str, method: str = "lora") -> dict[str, Tensor]:
    """Return what training left behind, by the keys PEFT saves; of a `full` run by plain names."""
    merger = numbers(f"merger{seed}", 2, 4)
    if method == "full":
        return {"visual.merger.mlp.0.weight": merger}
    tensors = {
        f"base_model.model.{TARGET}.lora_A.weight": numbers(f"A{seed}", 2, 2),
        f"base_model.model.{TARGET}.lora_B.weight": numbers(f"B{seed}", 2, 2),
    }
    if method == "dora":
        tensors[f"base_model.model.{TARGET}.lora_magnitude_vector"] = numbers(f"m{seed}", 2)
    if projector == "full":
        tensors["base_model.model.model.visual.merger.mlp.0.weight"] = merger
    return tensors


def adapter_config(*, projector: str, method: str = "lora") -> bytes:
    """Return PEFT's config for the adapter, with a few of the many settings that it writes as null."""
    config = {
        "alpha_pattern": {},
        "arrow_config": None,
        "auto_mapping": {
            "base_model_class": "Qwen2_5_VLForConditionalGeneration",
            "parent_library": "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
        },
        "base_model_name_or_path": "base",
        "bias": "none",
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": 4,
        "lora_dropout": 0.0,
        "megatron_core": "megatron.core",
        "modules_to_save": ["model.visual.merger"] if projector == "full" else None,
        "peft_type": "LORA",
        "peft_version": "0.21.2",
        "r": 2,
        "rank_pattern": {},
        "revision": None,
        "target_modules": [TARGET],
        "task_type": None,
        "use_dora": method == "dora",
        "use_rslora": False,
    }
    return json.dumps(config, indent=2, sort_keys=True).encode() + b"\n"


def numbers(name: str, *shape: int) -> Tensor:
    """Return a tensor of small numbers that its name decides."""
    count = math.prod(shape)
    digest = hashlib.shake_256(name.encode()).digest(count)
    return shape, struct.pack(f"<{count}f", *(byte / 256 for byte in digest))


def safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return a safetensors file of float32 tensors."""
    header, data = {}, b""
    for name in sorted(tensors):
        shape, raw = tensors[name]
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data

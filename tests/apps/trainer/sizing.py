"""Predicted memory of well-known models, from their configs alone: `python -m tests.apps.trainer.sizing`.

2048 tokens, batch 1, rank 16, bfloat16 weights, the default parts. Qwen rows hold one image of 1024 tokens.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKENS, IMAGE_TOKENS, SUPERVISED = 2048, 1024, 256


def _qwen(*, hidden: int, layers: int, heads: int, kv: int, ffn: int, vocabulary: int, tied: bool) -> Any:
    text = {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "intermediate_size": ffn, "vocab_size": vocabulary, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 128000, "tie_word_embeddings": tied, "model_type": "qwen2_5_vl_text",
        "layer_types": ["full_attention"] * layers, "use_sliding_window": False,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1000000.0},
    }  # fmt: skip
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
        "out_hidden_size": hidden, "fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112,
        "model_type": "qwen2_5_vl_vision",
    }  # fmt: skip
    return {
        "model_type": "qwen2_5_vl", "dtype": "bfloat16", "tie_word_embeddings": tied, "text_config": text,
        "vision_config": vision, "image_token_id": 151655, "video_token_id": 151656,
        "vision_start_token_id": 151652, "vision_end_token_id": 151653,
    }  # fmt: skip


LLAVA_NEXT = {
    "model_type": "llava_next", "dtype": "bfloat16", "image_token_index": 32000, "tie_word_embeddings": False,
    "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
    "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    "text_config": {
        "model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32064, "sliding_window": None,
        "rope_theta": 1000000.0, "max_position_embeddings": 32768,
    },
    "vision_config": {
        "model_type": "clip_vision_model", "hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14,
        "num_attention_heads": 16, "intermediate_size": 4096, "image_size": 336, "projection_dim": 768,
    },
}  # fmt: skip

MODELS: dict[str, tuple[Any, int]] = {
    "Qwen2.5-VL-3B": (
        _qwen(hidden=2048, layers=36, heads=16, kv=2, ffn=11008, vocabulary=151936, tied=True),
        14,
    ),
    "Qwen2.5-VL-7B": (
        _qwen(hidden=3584, layers=28, heads=28, kv=4, ffn=18944, vocabulary=152064, tied=False),
        32,
    ),
    "Qwen2.5-VL-72B": (
        _qwen(hidden=8192, layers=80, heads=64, kv=8, ffn=29568, vocabulary=152064, tied=False),
        196,
    ),
    "LLaVA-NeXT-7B": (LLAVA_NEXT, 28),
}
"""Config and the gigabytes that are stated elsewhere for such a run."""


@dataclass(frozen=True)
class SizingRow:
    """One model's prediction."""

    name: str
    parameters: int
    plain_bytes: int
    checkpointed_bytes: int
    stated_gb: int

    @property
    def nearer(self) -> str:
        """The setting whose prediction is nearer to what is stated."""
        stated = self.stated_gb * 1e9
        plain, checkpointed = abs(self.plain_bytes - stated), abs(self.checkpointed_bytes - stated)
        return "without" if plain < checkpointed else "with"


def sizing_rows(names: tuple[str, ...] = tuple(MODELS)) -> Iterator[SizingRow]:
    """Predict the memory that torch allocates on a GPU for each of these models."""
    from apps.trainer.bases import find_base
    from apps.trainer.load import meta_model
    from apps.trainer.memory import on_gpu
    from apps.trainer.plan import plan_for
    from apps.trainer.rehearsal import Stage
    from kolm.spec import VLMTrainConfig

    config = VLMTrainConfig(device="cpu")
    for name in names:
        described, stated = MODELS[name]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(described))
            base = find_base(Path(folder), model=name, weights=False)
            model = meta_model(base)
        plan = plan_for(model, base.family, config)
        stage = Stage(model, base.family, plan, config)
        tried = [stage.rehearse(_batch(described), checkpointing=c) for c in (False, True)]
        runs = [run for run in tried if run is not None and run.extent == "step"]
        assert len(runs) == 2
        peaks = [on_gpu(run).total_bytes for run in runs]
        size = plan.elements("vision", "projector", "language", "head")
        yield SizingRow(name, size, peaks[0], peaks[1], stated)


def _batch(described: Any) -> dict[str, Any]:
    """Make a row of 2048 tokens; for Qwen, half of them are an image of 64 x 64 patches."""
    import torch

    ids = torch.full((1, TOKENS), 7)
    labels = torch.full((1, TOKENS), -100)
    labels[:, -SUPERVISED:] = 7
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    if described["model_type"] == "qwen2_5_vl":
        ids[:, 8 : 8 + IMAGE_TOKENS] = described["image_token_id"]
        ids[:, 7] = described["vision_start_token_id"]
        batch["mm_token_type_ids"] = (ids == described["image_token_id"]).long()
        batch["pixel_values"] = torch.empty(4 * IMAGE_TOKENS, 3 * 2 * 14 * 14, device="meta")
        batch["image_grid_thw"] = torch.tensor([[1, 64, 64]])
    return batch


def table(rows: Iterator[SizingRow]) -> Iterator[str]:
    """Return the lines of the table."""
    yield f"{'model':<16} {'parameters':>15} {'without':>10} {'with gc':>10} {'stated':>8}  nearer"
    for row in rows:
        without, with_ = row.plain_bytes / 1e9, row.checkpointed_bytes / 1e9
        yield (
            f"{row.name:<16} {row.parameters:>15,} {without:>7.1f} GB {with_:>7.1f} GB "
            f"{row.stated_gb:>5} GB  {row.nearer}"
        )


if __name__ == "__main__":
    for line in table(sizing_rows(tuple(sys.argv[1:]) or tuple(MODELS))):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

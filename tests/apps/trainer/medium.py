"""A model of about 134 M parameters with random weights, and one training run of it in its own process.

    python -m tests.apps.trainer.medium FOLDER [--checkpointing]

prints the peak resident memory of the run and what was predicted for it, as JSON.
"""

import json
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from tests.digits import QWEN

WORDS = ["which", "seven", "digit", "picture", "three", "written", "answer", "number", "white", "black"]


def build(folder: Path) -> Path:
    """Write the checkpoint: the shipped Qwen2.5-VL base, widened; 32 M of it in the vision tower."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    folder.mkdir(parents=True)
    for path in QWEN.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder)
    config = json.loads((QWEN / "config.json").read_text())
    config["text_config"] |= {
        "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "vocab_size": 32768,
        "num_attention_heads": 12, "num_key_value_heads": 4, "layer_types": ["full_attention"] * 12,
    }  # fmt: skip
    config["text_config"]["rope_parameters"]["mrope_section"] = [8, 12, 12]
    config["vision_config"] |= {
        "hidden_size": 512, "intermediate_size": 1152, "depth": 10, "num_heads": 8, "out_hidden_size": 768,
        "fullatt_block_indexes": [4, 9],
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    model.save_pretrained(folder)
    return folder


def rows() -> list[dict[str, Any]]:
    """Return four rows of about 400 tokens."""
    text = " ".join(WORDS[i * 7 % len(WORDS)] for i in range(160))
    images = [Image.effect_noise((96, 96), 40 + i).convert("RGB") for i in range(4)]
    return [
        {"image": image, "prompt": f"{text} {' '.join(WORDS[:i])}", "response": "seven"}
        for i, image in enumerate(images)
    ]


def main(folder: Path, *, checkpointing: bool) -> dict[str, int]:
    """Predict, train two steps, and return both peaks in bytes."""
    from apps.trainer.bases import find_base
    from apps.trainer.batch import collate
    from apps.trainer.collate import Encoder
    from apps.trainer.load import meta_model
    from apps.trainer.memory import on_cpu
    from apps.trainer.plan import plan_for
    from apps.trainer.processor import load_processor
    from apps.trainer.rehearsal import Stage
    from apps.trainer.survey import survey
    from apps.trainer.vlm import VLMTrainConfig, vlm_trainer
    from kolm.dataset import dataset_of

    config = VLMTrainConfig(gradient_accumulation_steps=2, gradient_checkpointing=checkpointing)
    base = find_base(folder, model="medium")
    model = meta_model(base)
    encoder = Encoder(load_processor(base), model.config, base.family)
    seen = survey(encoder, dataset_of(rows()), config)
    stage = Stage(model, base.family, plan_for(model, base.family, config), config)
    rehearsal = stage.rehearse(collate(seen.longest, pad_token=0), checkpointing=checkpointing)
    assert rehearsal is not None
    assert rehearsal.extent == "step"
    predicted = on_cpu(rehearsal, rows_bytes=seen.size_bytes)
    del model, stage
    vlm_trainer(
        model_id=folder, train_dataset=rows(), config=config, output_dir=folder.parent / "out"
    ).train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "tokens": max(seen.lengths.values()),
        "measured": peak,
        "predicted": predicted.total_bytes,
        **vars(predicted),
    }


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), checkpointing="--checkpointing" in sys.argv)
    sys.stdout.write(json.dumps(found) + "\n")

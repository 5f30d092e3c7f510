"""What an exported model is compared with: the compiled one, asked as kolm asks it."""

from pathlib import Path
from typing import Any

import torch

from apps.trainer.bases import recall_base
from apps.trainer.generate import open_model
from apps.trainer.pair import unpack
from apps.trainer.processor import load_processor
from kolm.artifact import Artifact
from kolm.spec import VLMTrainConfig
from tests.digits import PROMPT, digits
from tests.e2e.conftest import Compiled

CONVERSATION = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]


def base_of(made: Compiled) -> Path:
    return next((made.folder / "base").iterdir())


def asked(made: Compiled) -> dict[str, Any]:
    """Inputs of one question, made by the base's own processor."""
    artifact = Artifact.open(made.artifact)
    processor = load_processor(recall_base(artifact.manifest.base.model_dump()))
    text = processor.apply_chat_template(CONVERSATION, add_generation_prompt=True)
    return dict(processor(text=[text], images=[digits(1)[0][0]], return_tensors="pt"))


def logits_of(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs).logits.float()


def compiled_logits(made: Compiled, inputs: dict[str, Any], tmp_path: Path) -> torch.Tensor:
    artifact = Artifact.open(made.artifact)
    config = VLMTrainConfig.model_validate(artifact.lock.config)
    (tmp_path / "members").mkdir()
    trained = unpack(artifact, tmp_path / "members", roles=("adapter", "weights"))
    base = recall_base(artifact.manifest.base.model_dump())
    return logits_of(open_model(base, config, trained=trained).model, inputs)

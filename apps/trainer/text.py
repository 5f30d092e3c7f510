"""The text-only trainer: language models without a vision tower, through the same plumbing.

    from apps.trainer.text import text_trainer, VLMTrainConfig
    trainer = text_trainer(model_id=..., train_dataset=rows, config=VLMTrainConfig(lora_r=16))
    result = trainer.train()

Rows are dicts with `prompt` and `response`, or `messages`; a row with an image is refused by name. Loader
(`Family.loader`), processor (`apps.trainer.tokenizer`) and rows differ from `apps.trainer.vlm`; the plan,
the freeze, the steps, the log and the module manifest are the same.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from apps.trainer.vlm import TrainResult, VLMTrainConfig, VLMTrainer, vlm_trainer
from kolm.errors import SpecError

__all__ = ["TrainResult", "VLMTrainConfig", "text_trainer"]


def text_trainer(
    *,
    model_id: str | Path,
    train_dataset: Iterable[Mapping[str, Any]],
    config: VLMTrainConfig | None = None,
    validation_dataset: Iterable[Mapping[str, Any]] = (),
    output_dir: str | Path | None = None,
) -> VLMTrainer:
    """Prepare a trainer of a text-only model for rows given in Python.

    Raises UnknownFamilyError, SpecError (also for a vision-language model), DataError; nothing is loaded yet.
    """
    trainer = vlm_trainer(
        model_id=model_id,
        train_dataset=train_dataset,
        config=config,
        validation_dataset=validation_dataset,
        output_dir=output_dir,
    )
    if trainer.base.family.sees_images:
        raise SpecError(
            f"{model_id} is a vision-language model ({trainer.base.family.name})",
            hint="use vlm_trainer of apps.trainer.vlm; it takes rows without images too",
        )
    return trainer

"""Ask a model: the base alone, or the base with what was trained, one question at a time, greedy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.collate import Encoder
from apps.trainer.decoders import SEQUENCE, sequence_of
from apps.trainer.load import load_model
from apps.trainer.processor import load_processor
from apps.trainer.reopen import check_loaded, open_trained
from kolm.answers import Answer
from kolm.modules import ModuleManifest
from kolm.rows import Turn
from kolm.spec import VLMTrainConfig


class LoadedModel:
    """A loaded model with its processor."""

    def __init__(self, model: Any, encoder: Encoder) -> None:
        self.model = model
        self.encoder = encoder

    def ask(self, turns: Sequence[Turn], images: Sequence[Any], *, max_new_tokens: int) -> Answer:
        """Return the greedy answer to a conversation, batch of one. `images` are PIL images, in order."""
        import torch

        inputs = self.encoder.prompt(turns, images)
        cost = self.encoder.cost(inputs)
        begun = int(sequence_of(inputs).shape[1])
        start = {"decoder_start_token_id": int(inputs[SEQUENCE][0, 0])} if SEQUENCE in inputs else {}
        batch = {key: tensor.to(self.model.device) for key, tensor in inputs.items()}
        with torch.no_grad():
            output = self.model.generate(
                **batch, **start, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, use_cache=True
            )
        new = output[0, begun:].tolist()  # [generated]
        tokenizer = self.encoder.processor.tokenizer
        return Answer(
            text=tokenizer.decode(new, skip_special_tokens=True).strip(),
            tokens=len(new),
            finish="stop" if new and new[-1] in self._ends() else "length",
            prompt_tokens=int(inputs.get("input_ids", sequence_of(inputs)).shape[1]),
            image_tokens=cost.tokens,
            patches=cost.patches,
        )

    def _ends(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}


def open_model(
    base: Base,
    config: VLMTrainConfig,
    *,
    trained: Path | None = None,
    manifest: ModuleManifest | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> LoadedModel:
    """Load a base as it was trained on, with what was trained if that is given, ready to be asked.

    `trained` is a folder with an adapter or weights. With a manifest, every trained tensor in the live
    model is compared with the digest the manifest has for it. Raises TrainError, EvalError.
    """
    model = load_model(base, config)
    if trained is not None:
        model = open_trained(model, trained)
        if manifest is not None:
            check_loaded(model, manifest)
    model.eval()
    processor = load_processor(base, min_pixels=min_pixels, max_pixels=max_pixels)
    return LoadedModel(model, Encoder(processor, model.config, base.family))

"""What a trained model says of one batch, compared with what is left of it once it is saved.

Saving can lose something that no list of tensors shows: a factor's scale, a setting of the adapter, a
buffer. So the logits of one training batch are kept, the model is let go, and the saved result, opened
again and then merged into the base, has to give them too.
"""

import gc
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.collate import Row, collate
from apps.trainer.foreign import translated
from apps.trainer.load import load_model
from apps.trainer.reopen import check_loaded, open_trained
from kolm.errors import EvalError
from kolm.modules import ModuleManifest
from kolm.spec import VLMTrainConfig

RELOADED = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 3e-2}
"""How far the reloaded model may be, as a share of the largest logit, by the type of its weights. Measured on
a CPU, the same weights give the same bits in 39 of 40 families, in three types and by every method, and
1.9e-7 in the other: where a tensor lies in memory can change the order in which a kernel adds. In 16 bit the
same reordering would show as 2^13 or 2^16 times that."""

MERGED = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""How far the merged model may be, by the type of its weights, each of which is rounded once more. Measured
on language models of 2 to 36 layers: at most 1.2e-6, 3.5e-3 and 2.3e-2, growing with depth. What the logits
of 16-bit weights cannot show, a layer that was passed over, is looked for layer by layer."""

_LOOKED_AT = 8  # rows among which one with an image is looked for
_LARGE = 1 << 28  # bytes of a base from which on it is worth the time to look for cycles that keep it


@dataclass(frozen=True)
class Probe:
    """One batch and what a model said of it."""

    batch: Mapping[str, Any]
    """Inputs and `labels` of the batch, on the CPU."""
    logits: Any
    """[positions, vocabulary] float32 on the CPU, where the batch is supervised."""


@dataclass(frozen=True)
class Reopened:
    """How far the saved result is from the model that was trained."""

    tensors: int
    """Trained tensors whose digests were compared."""
    largest_logit: float
    """Largest absolute value of the trained model's logits."""
    reloaded: float
    """Largest absolute difference of the reloaded model's logits to those."""
    merged: float | None
    """The same of the model merged into its base; null where nothing can be merged, or it is quantised."""


def probe(model: Any, rows: Sequence[Row], *, pad_token: int) -> Probe:
    """Ask a model for its logits on one of the first rows, one with an image if there is any.

    Leaves the model in eval mode.
    """
    model.eval()
    fullest = max(rows[:_LOOKED_AT], key=lambda row: len(row.inputs))
    return ask(model, collate([fullest], pad_token=pad_token))


def ask(model: Any, batch: Mapping[str, Any]) -> Probe:
    """Return what a model says of one batch, which holds `labels` where its logits are wanted."""
    return Probe(batch, _logits(model, batch))


def compare_reopened(
    base: Base, config: VLMTrainConfig, folder: Path, *, manifest: ModuleManifest, trained: Probe
) -> Reopened:
    """Open what was saved on a fresh base, merge it, and compare both with what the trained model said.

    The trained model has to be gone: one more is loaded. Raises EvalError when tensors or logits differ.
    """
    free_memory(base)
    model = open_trained(load_model(base, config), folder)
    check_loaded(model, manifest)
    largest = float(trained.logits.abs().max())
    reloaded = difference(model, trained)
    allowed = _by_type(RELOADED, model)
    _require(reloaded, allowed * largest, largest=largest, what="the saved result, loaded again,")
    merged = None
    if hasattr(model, "merge_and_unload") and not quantised(model):
        model = merge(model)
        check_loaded(model, manifest, merged=True)
        merged = difference(model, trained)
        allowed = _by_type(MERGED, model)
        _require(merged, allowed * largest, largest=largest, what="the result merged into its base")
    tensors = len(manifest.trainable)
    return Reopened(tensors, _figure(largest), _figure(reloaded), None if merged is None else _figure(merged))


def merge(model: Any) -> Any:
    """Merge an adapter into its base, layer by layer, and return the base's own class.

    Raises EvalError when a layer whose factors say something is as it was.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    lost = []
    with translated("the adapter cannot be merged", hint="export it with --to peft", error=EvalError):
        for name, layer in layers.items():
            before = _weight(layer).detach().clone()
            layer.merge()
            says = any(bool(torch.any(factor.weight != 0)) for factor in layer.lora_B.values())
            if says and torch.equal(before, _weight(layer)):
                lost.append(name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="All adapters are already merged")
            merged = model.merge_and_unload()
    if lost:
        raise EvalError(
            f"merging left {len(lost)} layers as they were, such as {lost[0]}",
            hint="their factors are too small for the type of the weights, or peft cannot merge this layer",
        )
    return merged


def quantised(model: Any) -> bool:
    """Say whether a model's weights are quantised: merging would round factors and weights together."""
    return getattr(model, "hf_quantizer", None) is not None or getattr(model, "is_quantized", False)


def difference(model: Any, trained: Probe) -> float:
    """Return the largest absolute difference of a model's logits to a probe's; infinite for no number."""
    import math

    apart = float((_logits(model, trained.batch) - trained.logits).abs().max())
    return math.inf if math.isnan(apart) else apart


def _weight(layer: Any) -> Any:
    """The weight that a layer's factors belong to; PEFT wraps 3-D parameters by name."""
    return layer.get_param() if hasattr(layer, "parameter_name") else layer.get_base_layer().weight


def _logits(model: Any, batch: Mapping[str, Any]) -> Any:
    import torch

    inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
    labels = inputs.pop("labels")
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits  # [B, L, vocabulary]
    return logits[:, :-1][labels[:, 1:] != -100].float().cpu()


def _by_type(allowed: Mapping[str, float], model: Any) -> float:
    return allowed.get(str(model.dtype).removeprefix("torch."), allowed["float32"])


def _require(apart: float, allowed: float, *, largest: float, what: str) -> None:
    if not apart <= allowed:
        raise EvalError(
            f"{what} answers otherwise than the model that was trained: "
            f"logits differ by {apart:.3g}, the largest is {largest:.3g}",
            hint="nothing was signed; something that was trained is not saved, please report it",
        )


def free_memory(base: Base) -> None:
    """Let go of a model that nobody names any more; cycles inside of it keep it until they are looked for."""
    import torch

    if sum(entry["bytes"] for entry in base.files) > _LARGE:
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _figure(value: float) -> float:
    return float(f"{value:.6g}")

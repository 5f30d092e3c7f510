"""The optimizer: AdamW in 32 or 8 bits over what is trained, the projector with a rate of its own."""

from collections.abc import Collection, Mapping
from typing import Any

from kolm.errors import TrainError
from kolm.spec import VLMTrainConfig


def make_optimizer(
    trained: Mapping[str, Any], config: VLMTrainConfig, *, projector: Collection[str] = ()
) -> Any:
    """Return AdamW over `trained`, parameters by plain name; those in `projector` get `projector_lr`.

    Raises TrainError when 8-bit Adam is asked for and bitsandbytes is not there.
    """
    rate = config.projector_lr if config.projector_lr is not None else config.learning_rate
    rest = [p for name, p in trained.items() if name not in projector]
    apart = [p for name, p in trained.items() if name in projector]
    groups = [{"params": rest, "lr": config.learning_rate}, {"params": apart, "lr": rate}]
    return _adamw(config)([group for group in groups if group["params"]], weight_decay=config.weight_decay)


def _adamw(config: VLMTrainConfig) -> Any:
    """Return the class; the 8-bit one keeps 32 bits for tensors of fewer than 4096 elements."""
    import torch

    if config.optim == "adamw_torch":
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as err:
        raise TrainError(
            "train.optim: adamw_8bit needs bitsandbytes", hint="pip install 'kolm[qlora]'"
        ) from err
    return AdamW8bit

"""The schedule of a run: how many optimizer steps, which rows each takes, and what happens when."""

import math
from collections.abc import Iterator, Sequence

from apps.trainer.batch import Row
from kolm.errors import SpecError
from kolm.spec import VLMTrainConfig


def count_steps(rows: int, config: VLMTrainConfig) -> int:
    """Return the number of optimizer steps a config makes over this many rows."""
    per_epoch = math.ceil(rows / (config.per_device_train_batch_size * config.gradient_accumulation_steps))
    whole = math.ceil(per_epoch * config.num_train_epochs)
    return min(whole, config.max_steps) if config.max_steps else whole


def check_warm_up(rows: int, config: VLMTrainConfig) -> None:
    """Refuse a projector warm-up that leaves no step for the rest. Raises SpecError."""
    made = count_steps(rows, config)
    if config.projector_warmup_steps and config.projector_warmup_steps >= made:
        raise SpecError(
            f"projector_warmup_steps: {config.projector_warmup_steps}, but {rows} rows make {made} steps",
            hint="lower it, or train longer",
        )


def warming(config: VLMTrainConfig, step: int) -> bool | None:
    """Say whether a step, the first being 1, is one of the projector warm-up; None where there is none."""
    return step <= config.projector_warmup_steps if config.projector_warmup_steps else None


def windows(rows: Sequence[Row], config: VLMTrainConfig, *, steps: int, seed: int) -> Iterator[list[Row]]:
    """Yield the rows of each optimizer step: a fresh shuffle each epoch, the last window may be short."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    size = config.per_device_train_batch_size * config.gradient_accumulation_steps
    made = 0
    while made < steps:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order), size):
            yield [rows[i] for i in order[start : start + size]]
            made += 1
            if made == steps:
                return


def rising_steps(config: VLMTrainConfig, steps: int) -> int:
    """Return the optimizer steps over which the learning rate rises from 0."""
    return config.warmup_steps or math.ceil((config.warmup_ratio or 0.0) * steps)


def validation_interval(config: VLMTrainConfig, rows: int) -> int:
    """Return the steps between two validations: what the config says, else one epoch's."""
    size = config.per_device_train_batch_size * config.gradient_accumulation_steps
    return config.eval_steps or math.ceil(rows / size)

"""The schedule of a run: how many optimizer steps it has, and how many rows, which rate and which validation.

All of it follows from the configuration and the number of rows, so an auditor makes it again
(specs/formats/trainlog.md 4). Which row comes when is drawn by the trainer.
"""

import math

from kolm.trainconfig import VLMTrainConfig


def count_steps(rows: int, config: VLMTrainConfig) -> int:
    """Return the number of optimizer steps a config makes over this many rows."""
    whole = steps_per_epoch(rows, config) * config.num_train_epochs
    return min(whole, config.max_steps) if config.max_steps else whole


def steps_per_epoch(rows: int, config: VLMTrainConfig) -> int:
    """Return the steps of one pass over the rows, the last of which may be short."""
    return -(-rows // rows_per_step(config))


def rows_per_step(config: VLMTrainConfig) -> int:
    """Return the rows of a whole step."""
    return config.per_device_train_batch_size * config.gradient_accumulation_steps


def rising_steps(config: VLMTrainConfig, steps: int) -> int:
    """Return the optimizer steps over which the learning rate rises from 0."""
    return config.warmup_steps or math.ceil((config.warmup_ratio or 0.0) * steps)


def learning_rate(config: VLMTrainConfig, step: int, *, steps: int, peak: float) -> float:
    """Return the rate that a step, the first being 1, of so many is made with."""
    made, rising = step - 1, rising_steps(config, steps)
    if made < rising:
        return peak * (made / max(1, rising))
    falling = max(1, steps - rising)
    shapes = {
        "constant": 1.0,
        "linear": (steps - made) / falling,
        "cosine": 0.5 * (1 + math.cos(math.pi * (made - rising) / falling)),
    }
    return peak * max(0.0, shapes[config.lr_scheduler])


def validation_interval(config: VLMTrainConfig, rows: int) -> int:
    """Return the steps between two validations: what the config says, else one epoch's."""
    return config.eval_steps or steps_per_epoch(rows, config)

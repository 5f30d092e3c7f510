"""The schedule of a run: how many steps it has, which rows and which rate each takes, and its validations.

All of it follows from the configuration, the rows and the seed, so an auditor makes it again
(specs/formats/trainlog.md 4).
"""

import math
from collections.abc import Iterator
from random import Random

from kolm.trainconfig import VLMTrainConfig

_WORD = (1 << 32) - 1


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


def passes(rows: int, *, seed: int) -> Iterator[list[int]]:
    """Yield the order in which each pass takes the rows, pass after pass without end.

    Fisher and Yates, by words of MT19937 that is seeded with 32 bits: what `torch.randperm` does.
    """
    words = [seed & _WORD]
    for n in range(1, 624):
        words.append((1_812_433_253 * (words[-1] ^ words[-1] >> 30) + n) & _WORD)
    stream = Random()  # noqa: S311
    stream.setstate((3, (*words, 624), None))  # 3: of Random's own; 624: all words are used up
    while True:
        order = list(range(rows))
        for place in range(rows - 1):
            drawn = place + stream.getrandbits(32) % (rows - place)
            order[place], order[drawn] = order[drawn], order[place]
        yield order


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

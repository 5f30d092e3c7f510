"""The rows of a run's steps: which rows each takes, and which steps train the projector alone."""

from collections.abc import Iterator, Sequence

from apps.trainer.batch import Row
from kolm.errors import SpecError
from kolm.schedule import count_steps, passes, rows_per_step
from kolm.spec import VLMTrainConfig


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
    size, made = rows_per_step(config), 0
    for order in passes(len(rows), seed=seed):
        for start in range(0, len(order), size):
            yield [rows[i] for i in order[start : start + size]]
            made += 1
            if made == steps:
                return

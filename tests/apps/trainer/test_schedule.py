"""The rates that an auditor computes are those that training was made with."""

import pytest
import torch

from apps.trainer.schedule import windows
from apps.trainer.steps import _Loop
from kolm.schedule import count_steps, learning_rate, passes, rows_per_step, steps_per_epoch
from kolm.spec import VLMTrainConfig

CONFIGS = [
    {"warmup_steps": 3},
    {"warmup_ratio": 0.25},
    {"warmup_steps": 30},
    {},
]


@pytest.mark.parametrize("shape", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("settings", CONFIGS)
def test_a_rate_is_the_one_that_training_takes(shape, settings):
    config = VLMTrainConfig(lr_scheduler=shape, learning_rate=0.003, **settings)
    loop = _Loop(torch.nn.Linear(2, 2), config, 20, pad_token=0, projector=())
    for step in range(1, 21):
        computed = learning_rate(config, step, steps=20, peak=0.003)
        assert loop.scheduler.get_last_lr()[0] == pytest.approx(computed, rel=1e-9, abs=1e-15)
        loop.optimizer.step()
        loop.scheduler.step()


@pytest.mark.parametrize("seed", [0, 1, 6473794039691484, 2**53 - 1])
def test_rows_are_shuffled_as_torch_shuffles_them(seed):
    generator = torch.Generator().manual_seed(seed)
    orders = passes(700, seed=seed)
    for _ in range(3):
        assert next(orders) == torch.randperm(700, generator=generator).tolist()


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (7, {"gradient_accumulation_steps": 3, "num_train_epochs": 2}),
        (6, {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 2}),
        (1, {"num_train_epochs": 3}),
        (9, {"gradient_accumulation_steps": 2, "num_train_epochs": 3, "max_steps": 7}),
    ],
)
def test_a_pass_takes_every_row_once_in_steps_of_one_size(rows, settings):
    config = VLMTrainConfig(**settings)
    steps = count_steps(rows, config)
    made = list(windows(list(range(rows)), config, steps=steps, seed=1))
    assert len(made) == steps
    epoch = steps_per_epoch(rows, config)
    for start in range(0, steps, epoch):
        whole = made[start : start + epoch]
        fed = [row for window in whole for row in window]
        assert len({*fed}) == len(fed)
        assert len(whole) < epoch or len(fed) == rows
        assert [len(w) for w in whole[:-1]] == [rows_per_step(config)] * (len(whole) - 1)

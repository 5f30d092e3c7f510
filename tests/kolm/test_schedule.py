"""The schedule of a run, as specs/formats/trainlog.md 4 has it."""

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kolm.schedule import learning_rate, passes
from kolm.trainconfig import VLMTrainConfig

PAGE = Path(__file__).parents[2] / "specs" / "formats" / "trainlog.md"


def test_the_passes_of_the_page() -> None:
    first, second = (" ".join(map(str, order)) for order in itertools.islice(passes(5, seed=7), 2))
    assert f"n = 5 and seed 7 the first passes are `{first}` and `{second}`" in PAGE.read_text(
        encoding="utf-8"
    )


@given(rows=st.integers(1, 60), seed=st.integers(0, 2**53 - 1))
def test_a_pass_takes_each_row_once(rows: int, seed: int) -> None:
    assert sorted(next(passes(rows, seed=seed))) == list(range(rows))


@given(
    shape=st.sampled_from(["linear", "cosine", "constant"]),
    steps=st.integers(1, 50),
    rising=st.integers(0, 60),
)
def test_a_rate_rises_to_its_peak_and_never_above(shape: str, steps: int, rising: int) -> None:
    config = VLMTrainConfig.of(lr_scheduler=shape, warmup_steps=rising)
    rates = [learning_rate(config, step, steps=steps, peak=1.0) for step in range(1, steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[: rising + 1] == sorted(rates[: rising + 1])
    assert rising >= steps or rates[rising] == 1

"""Memory and time of a training run, from rehearsals of its longest batch and this device's rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from apps.trainer import memory, rates
from apps.trainer.batch import Row, collate
from apps.trainer.draft import Draft
from apps.trainer.load import device_of
from apps.trainer.memory import Memory
from apps.trainer.meter import Work
from apps.trainer.plan import Plan
from apps.trainer.quantize import language_linears
from apps.trainer.rehearsal import Extent, Packed, Rehearsal, Stage
from apps.trainer.rows import CACHE_BYTES
from apps.trainer.survey import Survey
from kolm.names import plain_name
from kolm.schedule import count_steps
from kolm.spec import VLMTrainConfig


@dataclass(frozen=True)
class Estimate:
    """Memory and time of the training itself."""

    extent: Extent
    device: str
    plain: Memory
    """Peak without gradient checkpointing."""
    checkpointed: Memory
    """Peak with it."""
    checkpointing: bool
    """Which of the two the spec asks for."""
    memory_factor: float
    """Measured over predicted, from `--measure`; 1.0 when nothing was measured. Not in `plain`."""
    steps: int
    step_s: float
    """Seconds of one optimizer step, corrected where one was measured."""
    measured: bool

    @property
    def peak_bytes(self) -> int:
        """The peak of the setting that the spec asks for, corrected where it was measured."""
        chosen = self.checkpointed if self.checkpointing else self.plain
        return round(chosen.total_bytes * self.memory_factor)


def stage_of(draft: Draft) -> Stage:
    """Wrap the draft's model for rehearsals; the model is of no further use."""
    return Stage(
        draft.model, draft.job.base.family, draft.job.plan, draft.config, packed=packed_weights(draft)
    )


def packed_weights(draft: Draft) -> Packed:
    """Return what quantisation saves, of a base that is stored so or of `method: qlora`."""
    asked, stored = draft.config.quantization, draft.job.base.quantization
    if asked is None and stored is None:
        return Packed()
    sizes = [
        math.prod(draft.job.plan.shapes[f"{plain_name(name)}.weight"])
        for name in language_linears(draft.model, draft.job.base)
    ]
    bits = asked.bits if asked else 8 if stored and stored.get("load_in_8bit") else 4
    width = 4 if draft.job.plan.dtype == "float32" else 2
    return Packed.of(sizes, bits=bits, double=asked.double if asked else True, width=width)


def estimate_of(draft: Draft, stage: Stage | None, train: Survey) -> Estimate:
    """Predict memory and time of training on the rows of a survey, of which there must be one."""
    config = draft.config
    rehearse = rehearsing(draft.job.plan, config, stage, train.longest)
    plain, checkpointed = rehearse(False), rehearse(True)
    chosen = checkpointed if config.gradient_checkpointing else plain
    rate, found = _pace(draft)
    factor = found or rates.Correction(time=1.0, memory=1.0)
    return Estimate(
        extent=chosen.extent,
        device=rate.device,
        plain=_peak(plain, config, train),
        checkpointed=_peak(checkpointed, config, train),
        checkpointing=config.gradient_checkpointing,
        memory_factor=factor.memory,
        steps=count_steps(train.rows, config),
        step_s=rate.seconds(_step_work(chosen.work, train, config)) * factor.time,
        measured=found is not None,
    )


def expected(draft: Draft, stage: Stage | None, train: Survey) -> tuple[int, float]:
    """Return the peak in bytes and the seconds of a step, for the one way in which it will be trained."""
    config = draft.config
    run = rehearsing(draft.job.plan, config, stage, train.longest)(config.gradient_checkpointing)
    rate, found = _pace(draft)
    factor = found or rates.Correction(time=1.0, memory=1.0)
    step_s = rate.seconds(_step_work(run.work, train, config)) * factor.time
    return round(_peak(run, config, train).total_bytes * factor.memory), step_s


def _pace(draft: Draft) -> tuple[rates.Rate, rates.Correction | None]:
    """Return how fast the device of a draft is, and what real steps of its family said."""
    config = draft.config
    rate = rates.rate_of(device_of(config), "bfloat16" if config.bf16 else draft.job.plan.dtype)
    return rate, rates.correction(draft.job.base.family.name, rate)


def _peak(run: Rehearsal, config: VLMTrainConfig, train: Survey) -> Memory:
    if device_of(config) == "cpu":
        return memory.on_cpu(run, rows_bytes=min(train.size_bytes, CACHE_BYTES))
    return memory.on_gpu(run)


def rehearsing(
    plan: Plan, config: VLMTrainConfig, stage: Stage | None, rows: list[Row]
) -> Callable[[bool], Rehearsal]:
    """Return a function of `checkpointing` that rehearses one pass over a batch of rows."""
    patches = sum(row.cost.patches for row in rows)
    tokens = len(rows) * max(row.length for row in rows)

    def rehearse(checkpointing: bool) -> Rehearsal:
        run = stage and stage.rehearse(collate(rows, pad_token=0), checkpointing=checkpointing)
        return run or memory.from_shapes(
            plan, config, tokens=tokens, patches=patches, checkpointing=checkpointing
        )

    return rehearse


def _step_work(longest: Work, train: Survey, config: VLMTrainConfig) -> Work:
    """Return the work of an average optimizer step from that of one pass over the longest rows."""
    passes = min(config.gradient_accumulation_steps, -(-train.rows // config.per_device_train_batch_size))
    lengths = train.lengths.values()
    share = sum(lengths) / len(lengths) / max(lengths)
    size = len(train.longest) / config.per_device_train_batch_size
    return longest.times(passes * share / size if size else 0)

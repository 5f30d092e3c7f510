"""Two real optimizer steps on the longest rows, and what they say about the predictions."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from apps.trainer import rates
from apps.trainer.draft import Draft
from apps.trainer.job import Job
from apps.trainer.load import device_of
from apps.trainer.preview import preview
from apps.trainer.rates import Correction
from apps.trainer.survey import survey
from apps.trainer.vlm import VLMTrainer
from kolm.dataset import Example
from kolm.errors import DataError, SpecError
from kolm.inputs import Inputs

_STEPS = 2


@dataclass(frozen=True)
class Trial:
    """What was measured, and what had been predicted."""

    step_s: float
    predicted_s: float
    peak_bytes: int
    predicted_bytes: int


def run_trial(draft: Draft, inputs: Inputs) -> Trial:
    """Load the base, make two optimizer steps on the longest rows and keep how far the prediction was off.

    The correction stands under family, device, number type and threads. Raises DataError, TrainError.
    """
    if draft.encoder is None:
        raise SpecError("the base cannot be loaded here", hint="plan without --measure")
    config = draft.config.model_copy(update={"max_steps": _STEPS, "keep": "last", "eval_steps": None})
    longest = inputs.dataset.keeping(_longest(draft, inputs))
    job = Job.open(draft.job.loaded)
    rate = rates.rate_of(device_of(config), "bfloat16" if config.bf16 else job.plan.dtype)
    earlier = rates.correction(job.family, rate) or Correction(time=1.0, memory=1.0)
    estimate = preview(draft, replace(inputs, dataset=longest, validation=None)).estimate
    if estimate is None:
        raise DataError("no row can be trained on", hint="`kolm plan` without --measure lists why")
    limits = job.loaded.spec.processor
    with tempfile.TemporaryDirectory(prefix="kolm-") as folder:
        result = VLMTrainer(
            base=job.base,
            dataset=longest,
            config=config,
            output_dir=Path(folder),
            pixels={"min_pixels": limits.min_pixels, "max_pixels": limits.max_pixels},
        ).train()
    trial = Trial(
        step_s=min(result.metrics["steps_ns"]) / 1e9,
        predicted_s=estimate.step_s / earlier.time,
        peak_bytes=job.peak_memory(),
        predicted_bytes=round(estimate.peak_bytes / earlier.memory),
    )
    rates.keep_correction(
        job.family,
        rate,
        Correction(trial.step_s / trial.predicted_s, trial.peak_bytes / trial.predicted_bytes),
    )
    return trial


def _longest(draft: Draft, inputs: Inputs) -> list[Example]:
    """Return the longest rows, as many as the steps consume, or all. Raises DataError."""
    config = draft.config
    wanted = config.per_device_train_batch_size * config.gradient_accumulation_steps * _STEPS
    lengths = survey(draft.encoder, inputs.dataset, config).lengths if draft.encoder else {}
    if not lengths:
        raise DataError("no row can be trained on", hint="`kolm plan` without --measure lists why")
    ranked = sorted((e for e in inputs.dataset.examples if e.id in lengths), key=lambda e: -lengths[e.id])
    return ranked[:wanted]

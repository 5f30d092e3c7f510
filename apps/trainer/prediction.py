"""What a job is expected to cost, from a sample of its rows: a receipt puts it beside what was observed."""

from collections.abc import Sequence

from apps.trainer.draft import Draft, encoder_of
from apps.trainer.estimate import expected, stage_of
from apps.trainer.job import Job
from apps.trainer.load import model_to_plan
from apps.trainer.survey import survey
from kolm.dataset import Dataset, Example
from kolm.errors import KolmError

SAMPLE = 16
"""Rows taken evenly, and rows with the longest text: enough to know a step, and encoded in no time."""


def predict(job: Job, dataset: Dataset) -> dict[str, int | None]:
    """Return `{peak_bytes, step_ns}` of training on a data set, both None where nothing can be said.

    As `kolm plan` predicts them, but from a sample: a whole survey takes as long as encoding every row.
    """
    nothing: dict[str, int | None] = {"peak_bytes": None, "step_ns": None}
    try:
        model = model_to_plan(job.base, job.loaded.spec.train)
        encoder = encoder_of(job, model)
        draft = Draft(job, model, True, encoder, ())
        found = survey(encoder, dataset.keeping(_sample(dataset.examples)), draft.config)
        if not found.rows:
            return nothing
        found.size_bytes = found.size_bytes * dataset.count // found.rows
        found.rows = dataset.count
        peak, step_s = expected(draft, stage_of(draft), found)
    except KolmError:
        return nothing
    return {"peak_bytes": peak, "step_ns": round(step_s * 1e9)}


def _sample(examples: Sequence[Example]) -> list[Example]:
    """Return rows at even distances, and those with the most text, each once and in order."""
    ranked = sorted(range(len(examples)), key=lambda place: -_text(examples[place]))
    stride = -(-len(examples) // SAMPLE)
    chosen = sorted({*range(0, len(examples), stride), *ranked[:SAMPLE]})
    return [examples[place] for place in chosen]


def _text(example: Example) -> int:
    return sum(len(turn.text) for turn in example.messages)

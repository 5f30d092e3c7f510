"""A spec planned without weights: its job, its model on the meta device, and what encodes its rows."""

from dataclasses import dataclass
from typing import Any

from apps.trainer.bases import Base, find_base
from apps.trainer.collate import Encoder
from apps.trainer.headers import shapes_of, tensors_of
from apps.trainer.job import Job
from apps.trainer.load import model_to_plan
from apps.trainer.plan import plan_for
from apps.trainer.processor import load_processor
from apps.trainer.rows import shown, supervised
from apps.trainer.skeleton import skeleton
from kolm.errors import SpecError, TrainError
from kolm.inputs import Inputs
from kolm.spec import LoadedSpec, VLMTrainConfig


@dataclass(frozen=True)
class Draft:
    """A job whose base needs no weights here, with what its rows look like."""

    job: Job
    model: Any
    """On the meta device; the class itself, or a skeleton of names and shapes."""
    verified: bool
    encoder: Encoder | None
    """None when the processor cannot be loaded here."""
    notes: tuple[str, ...]

    @property
    def config(self) -> VLMTrainConfig:
        """The spec's training settings."""
        return self.job.loaded.spec.train


def open_draft(loaded: LoadedSpec) -> Draft:
    """Plan a spec without weights. Raises SpecError, UnknownFamilyError, TrainError, FreezeMismatchError."""
    spec = loaded.spec
    trust = spec.base.trust_remote_code
    base = find_base(
        loaded.base_source(), model=spec.base.model, revision=spec.base.revision, trust=trust, weights=False
    )
    notes = [base.note] if base.note else []
    if base.family.code == "transformers" or (base.family.code == "repository" and trust):
        job = Job.open(loaded, weights=False)
        model = model_to_plan(base, spec.train)
        if base.trusted:
            code = sum(file["path"].endswith(".py") for file in base.files)
            notes.append(f"{code} Python files of the model ran; its parts are those of the live model")
        if not base.has_weights:
            notes.append("no weights at hand: sizes are those of config.json")
        encoder = None
        try:
            encoder = encoder_of(job, model)
        except TrainError as err:
            notes.append(f"its rows cannot be encoded here: {err.message}")
        return Draft(job, model, True, encoder, tuple(notes))
    whose = "its own repository" if base.family.code == "repository" else "its authors' package"
    notes.append(f"its code is in {whose} and did not run: names come from the weight files")
    model = _skeleton(base)
    job = Job(loaded, base, plan_for(model, base.family, spec.train))
    return Draft(job, model, False, None, tuple(notes))


def encoder_of(job: Job, model: Any) -> Encoder:
    """Load what encodes the rows of a job. Raises TrainError."""
    limits = job.loaded.spec.processor
    processor = load_processor(job.base, min_pixels=limits.min_pixels, max_pixels=limits.max_pixels)
    return Encoder(processor, model.config, job.base.family)


def _skeleton(base: Base) -> Any:
    dtypes = [dtype for dtype, _ in tensors_of(base).values() if dtype in ("float32", "bfloat16", "float16")]
    dtype = max(set(dtypes), key=dtypes.count, default="float32")
    return skeleton(shapes_of(base), model_type=base.model_type, dtype=dtype)


def show_row(draft: Draft, inputs: Inputs, number: int) -> tuple[str, list[str]]:
    """Return a training row decoded, and its supervised spans. Raises DataError, SpecError."""
    if not 0 <= number < inputs.dataset.count:
        raise SpecError(
            f"there is no row {number}", hint=f"rows are numbered 0 to {inputs.dataset.count - 1}"
        )
    if draft.encoder is None:
        raise SpecError("the base's processor cannot be loaded here", hint="rows cannot be shown")
    row = draft.encoder.encode(inputs.dataset.examples[number], inputs.dataset, draft.config)
    return shown(row, draft.encoder.processor), supervised(row, draft.encoder.processor)

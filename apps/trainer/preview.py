"""What a compile would do, said before a byte of weights is read; `kolm plan` prints it."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from apps.trainer import freeze
from apps.trainer.draft import Draft
from apps.trainer.estimate import Estimate, estimate_of, stage_of
from apps.trainer.plan import Plan
from apps.trainer.rehearsal import Stage
from apps.trainer.saved import SavedSize, saved_size
from apps.trainer.schedule import check_warm_up
from apps.trainer.survey import Refusal, Spread, Survey, refused_questions, survey
from kolm.canonical import round6
from kolm.globs import summarise
from kolm.inputs import Inputs
from kolm.intervals import detectable_gain
from kolm.names import plain_name
from kolm.pack import EvalPack
from kolm.spec import VLMTrainConfig

DISCORDANT = 0.2
"""Share of the eval rows that only one of base and tuned model is taken to answer right."""


@dataclass(frozen=True)
class Route:
    """Who will train the base, and how sure that is."""

    model: str
    revision: str | None
    licence: str | None
    family: str
    model_type: str
    trainer: str
    """`vlm` or `text`."""
    model_class: str
    verified: bool
    """Whether the plan was made on the model itself; if not, on names and shapes in the weight files."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PartSize:
    """One part of the model."""

    part: str
    treatment: str
    parameters: int
    """The base's own."""
    trained: int
    """Parameters that will change, LoRA factors included."""


@dataclass(frozen=True)
class Lists:
    """The lists that the receipt will have, exact and short."""

    targets: tuple[str, ...]
    """Linear layers that get LoRA factors, and 3-D expert parameters behind them."""
    frozen_modules: tuple[str, ...]
    trainable_modules: tuple[str, ...]
    frozen: tuple[str, ...]
    trainable: tuple[str, ...]
    left_frozen: tuple[str, ...]
    """What stays frozen although its part is trained."""


@dataclass(frozen=True)
class RowsSeen:
    """What the processor makes of the rows."""

    train: int
    validation: int
    evaluation: int
    tokens: Spread
    image_tokens: Spread
    truncated: tuple[str, ...]
    dropped: tuple[str, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class Detectable:
    """The smallest gain over the base that some eval rows show; None where they are too few for any."""

    rows: int
    gain: float | None

    @classmethod
    def of(cls, rows: int) -> "Detectable":
        """Say what so many rows can show (specs/formats/kscore.md 5.7)."""
        gain = detectable_gain(rows, discordant=DISCORDANT)
        return cls(rows, None if gain is None else round6(gain))


@dataclass(frozen=True)
class DetectableGain:
    """What the eval pack can show at all, by McNemar's test at 5 %, in 80 of 100 runs."""

    discordant: float
    """Share of the rows that one of the two models alone is taken to answer right."""
    pack: Detectable
    slices: Mapping[str, Detectable]


@dataclass(frozen=True)
class Preview:
    """Everything that `kolm plan` says."""

    route: Route
    parts: tuple[PartSize, ...]
    lists: Lists
    saved: SavedSize
    servable_as: str
    servable_why: str
    estimate: Estimate | None
    """None when no row can be encoded."""
    rows: RowsSeen | None
    """None when the base's processor cannot be loaded here."""
    detectable: DetectableGain
    leaks: Mapping[str, int]
    """What is both trained on and evaluated on, counted (`kolm.leaks.Leaks.counts`)."""
    resolved: Mapping[str, Any]
    """What the settings that the spec leaves open became."""

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """Rows that would stop the compile."""
        return self.rows.refused if self.rows else ()

    def document(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return json.loads(json.dumps(asdict(self), default=str))  # type: ignore[no-any-return]


def preview(draft: Draft, inputs: Inputs) -> Preview:
    """Say what the compile of a draft would do with these inputs.

    Raises DataError when no row is left, SpecError for a warm-up that never ends, StorageError, TrainError.
    """
    job = draft.job
    seen = _surveyed(draft, inputs)
    if seen and seen[0].rows:
        check_warm_up(seen[0].rows, draft.config)
    stage = stage_of(draft) if draft.verified else None
    return Preview(
        route=_route(draft),
        parts=_part_sizes(job.plan),
        lists=_lists(job.plan, stage),
        saved=saved_size(stage.saved()) if stage else _guessed_size(job.plan),
        servable_as=job.plan.servable_as,
        servable_why=_why(job.plan, draft.config),
        estimate=estimate_of(draft, stage, seen[0]) if seen and seen[0].rows else None,
        rows=_rows_seen(draft, inputs, seen) if seen else None,
        detectable=_detectable(inputs.pack),
        leaks=inputs.leaks.counts(),
        resolved=job.resolved,
    )


def _detectable(pack: EvalPack) -> DetectableGain:
    sizes = Counter(row.slice for row in pack.rows)
    slices = {name: Detectable.of(sizes[name]) for name in sorted(pack.slices)}
    return DetectableGain(DISCORDANT, Detectable.of(len(pack.rows)), slices)


def _route(draft: Draft) -> Route:
    base = draft.job.base
    return Route(
        model=base.model,
        revision=base.revision,
        licence=base.licence,
        family=base.family.name,
        model_type=base.model_type,
        trainer=base.family.trainer,
        model_class=type(draft.model).__name__ if draft.verified else base.family.loader,
        verified=draft.verified,
        notes=draft.notes,
    )


def _part_sizes(plan: Plan) -> tuple[PartSize, ...]:
    trained = dict.fromkeys(plan.treatments, 0)
    for name, part in plan.parts.items():
        trained[part] += math.prod(plan.shapes[name]) if plan.states[name] == "trainable" else 0
    sizes = []
    for part in dict.fromkeys(plan.parts.values()):
        changed = trained[part] + plan.added_to.get(part, 0)
        sizes.append(PartSize(part, plan.treatments[part], plan.elements(part), changed))
    return tuple(sizes)


def _lists(plan: Plan, stage: Stage | None) -> Lists:
    """Make the lists as a manifest makes them: vision first, else in the order of the wrapped model."""
    states = freeze.states_of(stage.wrapped) if stage else plan.states
    ordered = sorted(states, key=lambda name: plan.parts.get(name) != "vision")
    frozen = [name for name in ordered if states[name] == "frozen"]
    trainable = [name for name in ordered if states[name] == "trainable"]
    short = summarise(frozen, trainable)
    return Lists(
        targets=tuple(plain_name(name) for name in (*plan.targets, *plan.target_parameters)),
        frozen_modules=tuple(short[0]),
        trainable_modules=tuple(short[1]),
        frozen=tuple(frozen),
        trainable=tuple(trainable),
        left_frozen=plan.left_frozen,
    )


def _why(plan: Plan, config: VLMTrainConfig) -> str:
    """Say in one sentence why the result can be served as it can."""
    full = [part for part, treatment in plan.treatments.items() if treatment == "full"]
    if full:
        return f"{' and '.join(full)} trained in full: engines that take adapters take LoRA factors only"
    if plan.target_parameters:
        return "experts are 3-D parameters, whose factors engines do not take"
    if config.method == "dora":
        return "DoRA scales whole rows of the weights, which engines do not do"
    if plan.servable_as == "lora+connector":
        return (
            "factors also outside the language tower: only engines that adapt towers and connectors take it"
        )
    return "LoRA factors in linear layers of the language tower and nothing else: engines load the adapter"


def _guessed_size(plan: Plan) -> SavedSize:
    """Size of the saved file where no model can be wrapped: factors in float32, the rest as it is."""
    kinds = {name: plan.shapes[name] for name in plan.trained if name in plan.shapes}
    own = sum(math.prod(shape) for shape in kinds.values())
    width = 4 if plan.dtype == "float32" else 2
    return SavedSize(plan.added + own, len(plan.trained), 4 * plan.added + width * own, 0)


def _surveyed(draft: Draft, inputs: Inputs) -> tuple[Survey, Survey] | None:
    if draft.encoder is None:
        return None
    held = survey(draft.encoder, inputs.validation, draft.config) if inputs.validation else Survey()
    return survey(draft.encoder, inputs.dataset, draft.config), held


def _rows_seen(draft: Draft, inputs: Inputs, seen: tuple[Survey, Survey]) -> RowsSeen:
    train, held = seen
    asked = refused_questions(draft.encoder, inputs.pack) if draft.encoder else []
    return RowsSeen(
        train=train.rows,
        validation=held.rows,
        evaluation=len(inputs.pack.rows),
        tokens=Spread.of(train.lengths.values()),
        image_tokens=Spread.of(train.image_tokens),
        truncated=(*train.truncated, *held.truncated),
        dropped=(*train.dropped, *held.dropped),
        refused=(*train.refused, *held.refused, *asked),
    )

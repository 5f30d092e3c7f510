"""The compile predicate: what was observed while an artifact was made.

`urn:kolm:compile:v1`, specs/formats/receipt.md 3. It holds what SLSA has no place for: what was
frozen and trained, how well the result does, and everything that was measured.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from kolm.schema import Closed, Count, Hex, RunId, Timestamp


class Reopened(Closed):
    """How far what was saved is from the model that was trained, by the logits of one training batch."""

    tensors: Count
    """Trained tensors that had their digests when they were loaded again."""
    largest_logit: float
    reloaded: float
    """Largest absolute difference of the reloaded model's logits to the trained one's."""
    merged: float | None
    """The same after merging into the base; null where there is nothing to merge or the base is quantised."""


class TrainBlock(Closed):
    """How the adapter was trained, in the words that every receipt uses."""

    model_id: str
    papers: list[str]
    lora_r: Count
    lora_alpha: float
    lora_targets: list[str]
    frozen_modules: list[str]
    trainable_modules: list[str]
    learning_rate: float
    max_seq_length: Count
    train_examples: Count
    method: str = ""
    """`lora`, `rslora`, `dora`, `qlora` or `full`."""
    lora_dropout: float = 0.0
    bias: str = ""
    seed: Count = 0
    optim: str = ""
    lr_scheduler: str = ""
    num_train_epochs: float = 0.0
    steps: Count = 0
    best_step: Count | None = None
    checkpoint: str = ""
    """`best` or `last`."""
    left_frozen: list[str] = Field(default_factory=list)
    """Parameters of a part trained in full that were not: no module that PEFT can wrap holds them alone."""
    truncated_examples: Count = 0
    dropped_examples: Count = 0
    reopened: Reopened | None = None
    parts: dict[str, str] = Field(default_factory=dict)
    """For each part what was seen: `frozen`, `lora` or `full`."""
    servable_as: str = ""
    """`lora`, `lora+connector` or `merged`."""


class TextTrainBlock(TrainBlock):
    """`text_train`: the block of a text-only model."""


class VLMTrainBlock(TrainBlock):
    """`vlm_train`: the block of a vision-language model."""

    freeze_vision: bool


class ModuleCounts(Closed):
    """How many parameters of the manifest are in each state, and their elements."""

    frozen: Count
    trainable: Count
    frozen_elements: Count
    trainable_elements: Count


class ModuleSummary(Closed):
    """Which modules were frozen and trained, as short lists over the module manifest."""

    cid: str
    """CID of `modules.json`."""
    frozen_modules: list[str]
    trainable_modules: list[str]
    counts: ModuleCounts


class Axis(Closed):
    """One axis of K."""

    value: float | None
    raw: JsonValue
    unit: str
    norm: str
    evidence: str


class Condition(Closed):
    """One condition of the gate; `ok` is null where it does not apply or could not be judged."""

    id: str
    required: JsonValue
    observed: JsonValue
    ok: bool | None


class Gate(Closed):
    """The verdict and the conditions it follows from."""

    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    conditions: list[Condition]


class KScore(Closed):
    """The K-score document of specs/formats/kscore.md, with gate and attempts."""

    definition: str
    value: float | None
    interval: list[float] | None
    axes: dict[Literal["A", "S", "L", "C", "V"], Axis]
    accuracy: dict[str, JsonValue]
    other: dict[str, JsonValue]
    gate: Gate
    attempts: Annotated[int, Field(ge=1)]
    """How often this pack was scored before and including this run, as the signer says."""


class RowTiming(Closed):
    """How long the answers to one row of the eval pack took, each asked alone."""

    id: str
    base_ns: Count | None
    tuned_ns: Count | None


class Timings(Closed):
    """Measured durations in nanoseconds."""

    rows: list[RowTiming]
    """The timed rows, in the pack's order (specs/formats/kscore.md 3)."""
    steps_ns: list[Count]


class Memory(Closed):
    """Measured memory."""

    peak_bytes: Count


class BaseResource(Closed):
    """The base model as the receipt names it; its files are SLSA's resolved dependencies."""

    model: str
    revision: str | None
    licence: str | None
    files: Hex
    """SHA-256 of the canonical JSON of the manifest's `base.files`."""


class NearDuplicates(Closed):
    """Pairs of a trained and an evaluated picture that look like one, as the signer says."""

    found: Count
    reviewed: Count
    """Of these, pairs that a person looked at and called distinct."""
    waiting: Count
    """Of these, all others."""

    @model_validator(mode="after")
    def _sum(self) -> Self:
        if self.found != self.reviewed + self.waiting:
            raise ValueError("near duplicates are reviewed or wait, and together all that were found")
        return self


class Evaluation(Closed):
    """How the questions were asked, as it was seen."""

    batch: Annotated[int, Field(ge=1)]
    """Most questions asked at once."""
    compared: Count
    """Questions asked in a batch and alone."""
    differing: Count
    """Of these, questions whose two answers differed; then their model was asked every question alone."""

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.differing > self.compared:
            raise ValueError("more answers differ than were compared")
        return self


class Planned(Closed):
    """What the plan predicted before training; null where it could not."""

    peak_bytes: Count | None
    step_ns: Count | None


class DataCounts(Closed):
    """Sizes of the data sets."""

    root: Hex
    """SHA-256 of `train/set.json`."""
    train: Count
    validation: Count
    eval: Count
    text_overlaps: Count | None = None
    """Eval rows without pictures whose question is trained on, word for word, as the signer says."""
    near_duplicates: NearDuplicates | None = None
    """Null where nobody looked."""


class CompilePredicate(Closed):
    """`urn:kolm:compile:v1`: what was observed during the compile."""

    run: RunId
    name: str
    task: str
    family: str
    vlm_train: VLMTrainBlock | None = None
    text_train: TextTrainBlock | None = None
    modules: ModuleSummary
    k_score: KScore
    base: BaseResource
    data: DataCounts
    environment: Annotated[dict[str, JsonValue], Field(min_length=1)]
    """Versions, device, threads, CPU capability, image backend, host: an open map of measured things."""
    timings: Timings
    evaluation: Evaluation | None = None
    planned: Planned | None = None
    memory: Memory
    started: Timestamp
    finished: Timestamp

    @model_validator(mode="after")
    def _one_block(self) -> Self:
        if (self.vlm_train is None) == (self.text_train is None):
            raise ValueError("a compile has one of vlm_train and text_train")
        return self

    @property
    def train(self) -> TrainBlock:
        """The training block, whichever of the two it is."""
        return self.vlm_train or self.text_train  # type: ignore[return-value]  # one is there: _one_block

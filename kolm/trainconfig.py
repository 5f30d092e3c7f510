"""How a model is trained: `VLMTrainConfig`, the `train` section of a spec.

The same class is written in Python by those who call the trainer directly. Names and defaults are
those of peft and trl where they exist. `contradictions` lists settings that cannot both hold,
`unsupported` lists settings that are understood but not built: both are refused, never ignored.
"""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from kolm.errors import SpecError
from kolm.validation import mistakes_in

SEVEN_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
State = Literal["frozen", "lora", "full"]


class Section(BaseModel):
    """A part of a spec: immutable, closed to unknown keys, and no value is bent into another type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Parts(Section):
    """What happens to each part of the model; every parameter belongs to exactly one part."""

    vision: State = "frozen"
    """The vision tower. Anything but `frozen` also needs `freeze_vision: false`."""
    projector: Literal["auto", "frozen", "lora", "full", "warmup"] = "auto"
    """`auto`: frozen when it lives inside the vision tower, trained in full when it stands outside."""
    language: State = "lora"
    """The language tower."""
    audio: State = "frozen"
    """The audio tower, where there is one."""


class Quantization(Section):
    """How the frozen weights are quantised while training (method `qlora`)."""

    bits: Literal[4, 8] = 4
    """Bits per weight."""
    type: Literal["nf4", "fp4"] = "nf4"
    """4-bit number format."""
    compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type the weights are expanded to for each multiplication."""
    double: bool = True
    """Quantise the quantisation constants too."""


class VLMTrainConfig(Section):
    """Every training setting, resolved; what is not given has the default below."""

    method: Literal["lora", "rslora", "dora", "qlora", "full"] = "lora"
    """What is learned: low-rank adapters, one of their variants, or all weights."""

    lora_r: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the adapters."""
    lora_alpha: Count = 32
    """Adapter scale: updates are multiplied by lora_alpha / lora_r; for rslora lora_alpha / sqrt(lora_r)."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of adapter inputs dropped while training."""
    lora_targets: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = SEVEN_PROJECTIONS
    """Layers of the language tower that get adapters: names of leaves (`q_proj`), full names, or the words
    `all-linear`, `attention`, `mlp`, `experts` (3-D weights). The default passes over absent names."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases are trained beside the adapters."""
    freeze_vision: bool = True
    """Leave every parameter of the vision tower untouched."""
    parts: Parts = Parts()
    """What happens to each part of the model."""

    learning_rate: Positive = 1e-4
    """Peak learning rate."""
    projector_lr: Positive | None = None
    """Peak learning rate of the projector; none: `learning_rate`."""
    projector_warmup_steps: Whole = 0
    """First optimiser steps, which train the projector alone; then it stays as it is and the rest trains."""
    optim: Literal["adamw_torch", "adamw_8bit"] = "adamw_torch"
    """Optimiser; `adamw_8bit` keeps its state in 8 bits and needs bitsandbytes."""
    lr_scheduler: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the learning rate after warm-up; linear and cosine end at 0."""
    warmup_steps: Whole = 0
    """Optimiser steps over which the learning rate rises from 0."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The same as a share of all steps; give one of the two."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    max_grad_norm: Positive | None = 1.0
    """Gradients are scaled down to this norm; none: never."""

    num_train_epochs: Count = 1
    """Passes over the training rows."""
    max_steps: Count | None = None
    """Optimiser steps after which training ends, whatever `num_train_epochs` says."""
    per_device_train_batch_size: Count = 1
    """Rows per forward pass."""
    gradient_accumulation_steps: Count = 8
    """Forward passes per optimiser step."""
    max_seq_length: Count = 2048
    """Longest row, in tokens, image tokens included."""
    max_images_per_example: Count = 4
    """Most images in one row; a cap, never padding."""
    on_overlong: Literal["refuse", "drop"] = "refuse"
    """What happens to a row that does not fit even after its prompt was cut."""

    bf16: bool = True
    """Compute in bfloat16 autocast; the weights keep their type."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type the weights are loaded in; auto: the checkpoint's own."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")] = "auto"
    """Where to train: auto, cpu, cuda, cuda:N or mps."""
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """Attention kernel; none: what transformers chooses."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    quantization: Quantization | None = None
    """Quantisation of the frozen weights; needs `method: qlora`."""

    seed: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    """Seed; the effective one also depends on the training rows."""
    logging_steps: Count = 10
    """Optimiser steps between two lines of progress."""
    eval_steps: Count | None = None
    """Optimiser steps between two validation losses; none: once per epoch."""
    save_steps: Count | None = None
    """Optimiser steps between two checkpoints on disk, to resume from; none: no checkpoints."""
    keep: Literal["best", "last"] | None = None
    """Which weights are kept; none: best by validation loss where there are validation rows, else last."""

    @model_validator(mode="before")
    @classmethod
    def _all_weights(cls, data: Any) -> Any:
        """`method: full` means the language tower's weights where `parts` does not name it."""
        if not isinstance(data, dict) or data.get("method") != "full":
            return data
        parts = data.get("parts", {})
        if isinstance(parts, Parts):
            parts = parts.model_dump(include=parts.model_fields_set)
        return {**data, "parts": {"language": "full", **parts}} if isinstance(parts, dict) else data

    @model_validator(mode="after")
    def _consistent(self) -> "VLMTrainConfig":
        for finding in contradictions(self):
            raise PydanticCustomError(
                "contradiction", "{text}", {"at": finding.path, "text": finding.message}
            )
        return self

    @classmethod
    def of(cls, **fields: Any) -> "VLMTrainConfig":
        """Build a config from keywords, refusing what is wrong or not built. Raises SpecError."""
        try:
            config = cls(**fields)
        except ValidationError as err:
            lines = [m.message + (f": {m.note}" if m.note else "") for m in mistakes_in(err, cls)]
            raise SpecError("; ".join(lines), hint="`kolm schema` lists every setting") from err
        refuse_unsupported(config)
        return config


class Finding(NamedTuple):
    """A setting that cannot be honoured: its path inside the config, and why."""

    path: tuple[str, ...]
    message: str


def contradictions(config: VLMTrainConfig) -> list[Finding]:
    """List the pairs of settings that cannot both hold."""
    found = []
    if config.freeze_vision != (config.parts.vision == "frozen"):
        frozen = "true" if config.freeze_vision else "false"
        text = f"`freeze_vision: {frozen}` contradicts `parts.vision: {config.parts.vision}`"
        found.append(Finding(("freeze_vision",) if frozen == "false" else ("parts", "vision"), text))
    if (config.quantization is not None) != (config.method == "qlora"):
        at: tuple[str, ...] = ("quantization",) if config.quantization is not None else ("method",)
        found.append(Finding(at, "`quantization` and `method: qlora` need each other"))
    if config.quantization is not None and config.parts.language == "full":
        text = "`parts.language: full` contradicts `quantization`: quantised weights cannot be trained"
        found.append(Finding(("parts", "language"), text))
    for key in _without_effect(config.quantization):
        text = f"`{key}` describes 4-bit weights and has no effect with `bits: 8`"
        found.append(Finding(("quantization", key), text))
    adapted = [part for part, treatment in config.parts if treatment == "lora"]
    if config.method == "full" and adapted:
        text = f"`method: full` contradicts `parts.{adapted[0]}: lora`"
        found.append(Finding(("parts", adapted[0]), text))
    if config.parts.language != "lora" and config.lora_targets != SEVEN_PROJECTIONS:
        text = f"`lora_targets` name layers of a language tower that is `{config.parts.language}`"
        found.append(Finding(("lora_targets",), text))
    if config.warmup_steps and config.warmup_ratio:
        found.append(
            Finding(("warmup_ratio",), "`warmup_steps` and `warmup_ratio` are both given: choose one")
        )
    if bool(config.projector_warmup_steps) != (config.parts.projector == "warmup"):
        at = ("projector_warmup_steps",) if config.projector_warmup_steps else ("parts", "projector")
        found.append(Finding(at, "`projector_warmup_steps` and `parts.projector: warmup` need each other"))
    return found


def _without_effect(asked: Quantization | None) -> list[str]:
    """Settings of the 4-bit format that were changed although `bits` is 8."""
    if asked is None or asked.bits == 4:
        return []
    return [key for key, value in Quantization(bits=8) if getattr(asked, key) != value]


def unsupported(config: VLMTrainConfig) -> list[Finding]:
    """List the settings that are understood but not built. Whoever builds one deletes its line."""
    audio = config.parts.audio
    missing = [
        (audio != "frozen", ("parts", "audio"), f"`{audio}` training of the audio tower"),
        (config.bias != "none", ("bias",), "trained biases"),
        (config.save_steps is not None, ("save_steps",), "checkpoints to resume from"),
    ]
    return [Finding(path, f"not supported yet: {what}") for applies, path, what in missing if applies]


def refuse_unsupported(config: VLMTrainConfig) -> None:
    """Refuse a config that asks for something not built. Raises SpecError."""
    found = unsupported(config)
    if found:
        text = "; ".join(f"{'.'.join(f.path)}: {f.message}" for f in found)
        raise SpecError(text, hint="remove the setting, or choose another value")

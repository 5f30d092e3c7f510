"""The vision-language trainer: plan, load, freeze, train, observe, save; read it top to bottom.

    from apps.trainer.vlm import vlm_trainer, VLMTrainConfig
    trainer = vlm_trainer(model_id=..., train_dataset=rows, config=VLMTrainConfig(lora_r=16))
    result = trainer.train()

Rows are dicts with `image` (a PIL image, a path or a base64 string; a list for several), `prompt`
and `response`. The base is a checkpoint folder or a hub id.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from apps.trainer import freeze, steps
from apps.trainer.adapter import folder_name, save_trained
from apps.trainer.bases import Base, find_base
from apps.trainer.collate import Encoder, Row
from apps.trainer.decoders import refuse_decoder
from apps.trainer.families import Family
from apps.trainer.load import load_model, meta_model, model_to_plan
from apps.trainer.plan import Plan, plan_for
from apps.trainer.probe import compare_reopened, probe
from apps.trainer.processor import load_processor
from apps.trainer.rows import Rows
from apps.trainer.schedule import check_warm_up, warming
from kolm.canonical import canonical_json
from kolm.cid import sha256_hex
from kolm.dataset import Dataset, dataset_of
from kolm.errors import SpecError, TrainError
from kolm.modules import ModuleManifest
from kolm.spec import VLMTrainConfig, refuse_unsupported
from kolm.trainlog import Chain, base_digest, effective_seed

__all__ = ["TrainResult", "VLMTrainConfig", "VLMTrainer", "vlm_trainer"]


@dataclass(frozen=True)
class TrainResult:
    """What training left behind."""

    adapter_dir: Path
    """Folder `adapter`, which `PeftModel.from_pretrained` takes, or `weights` where no part got factors."""
    manifest: ModuleManifest
    """Every parameter of the live model as it was seen after training."""
    log: bytes
    """The step log, JSON Lines (specs/formats/trainlog.md)."""
    metrics: dict[str, Any]
    """`steps`, `loss`, `validation_loss`, `kept_step`, `steps_ns`, `train_examples`, `reopened`, ..."""


def vlm_trainer(
    *,
    model_id: str | Path,
    train_dataset: Iterable[Mapping[str, Any]],
    config: VLMTrainConfig | None = None,
    validation_dataset: Iterable[Mapping[str, Any]] = (),
    output_dir: str | Path | None = None,
) -> "VLMTrainer":
    """Prepare a trainer for rows given in Python.

    Raises UnknownFamilyError, SpecError, DataError; nothing is loaded yet.
    """
    source = Path(model_id) if Path(model_id).is_dir() else str(model_id)
    base = find_base(source, model=str(model_id))
    validation = list(validation_dataset)
    return VLMTrainer(
        base=base,
        dataset=dataset_of(train_dataset),
        validation=dataset_of(validation) if validation else None,
        config=config or VLMTrainConfig(),
        output_dir=Path(output_dir) if output_dir else Path(tempfile.mkdtemp(prefix="kolm-")),
    )


@dataclass
class VLMTrainer:
    """One training run of one base over one data set."""

    base: Base
    dataset: Dataset
    config: VLMTrainConfig
    output_dir: Path
    validation: Dataset | None = None
    pixels: Mapping[str, int | None] = field(default_factory=dict)
    """`min_pixels`, `max_pixels` of the processor."""
    commitment: Mapping[str, Any] | None = None
    """What the step log commits to; made from the inputs at hand when the caller has none."""
    progress: steps.Progress | None = None

    def plan(self) -> Plan:
        """Say what will be frozen and trained, from a model without weights."""
        refuse_unsupported(self.config)
        refuse_decoder(self.base.family)
        if self.validation is None and (self.config.keep == "best" or self.config.eval_steps):
            raise SpecError(
                "keep: best and eval_steps need validation rows", hint="give validation_dataset, or drop them"
            )
        check_warm_up(len(self.dataset.examples), self.config)
        return plan_for(model_to_plan(self.base, self.config), self.base.family, self.config)

    def train(self) -> TrainResult:
        """Train and return the adapter with the manifest of what was observed.

        Raises TrainError, DataError, FreezeMismatchError when the live model is not the plan's, and EvalError
        when what was saved is not what was trained.
        """
        plan = self.plan()
        commitment = dict(self.commitment or self._own_commitment())
        with deterministic(int(commitment["seed"])):
            return self._train(plan, commitment)

    def _train(self, plan: Plan, commitment: Mapping[str, Any]) -> TrainResult:
        processor = load_processor(self.base, **self.pixels)
        encoder = Encoder(processor, meta_model(self.base).config, self.base.family)
        rows = Rows(encoder, self.dataset, self.config)
        held = Rows(encoder, self.validation, self.config) if self.validation else []
        check_warm_up(len(rows), self.config)  # overlong rows may have been dropped
        model = load_model(self.base, self.config)
        _check_type(model, plan)

        family, before = self.base.family, freeze.digests(model)
        wrapped = freeze.wrap(model, plan, self.config)
        freeze.compare_states(freeze.states_of(wrapped), plan)
        if self.config.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        log = Chain(commitment)
        trace = steps.train(
            wrapped,
            rows,
            held,
            self.config,
            seed=int(commitment["seed"]),
            pad_token=_pad_token(encoder.processor),
            log=log,
            enter_training=_entering(wrapped, family, plan, self.config),
            projector={name for name in plan.trained if family.part_of(name) == "projector"},
            progress=self.progress,
        )

        freeze.rewind_rotations(wrapped)
        manifest = freeze.observe(wrapped, base=self.base, before=before, gradients=trace.gradients)
        freeze.compare(manifest, plan)
        trained = probe(wrapped, rows, pad_token=_pad_token(encoder.processor))
        adapter_dir = save_trained(wrapped, plan, self.base, self.output_dir / folder_name(plan))
        del model, wrapped  # one model in memory at a time
        reopened = compare_reopened(self.base, self.config, adapter_dir, manifest=manifest, trained=trained)
        metrics = _metrics(trace, rows, held) | {"reopened": asdict(reopened)}
        return TrainResult(adapter_dir, manifest, log.to_bytes(), metrics)

    def _own_commitment(self) -> dict[str, Any]:
        """Commit to the inputs of a run without a spec: config, rows and base."""
        members = [example.to_json() for example in self.dataset.examples]
        root = sha256_hex(canonical_json(members))
        config = sha256_hex(canonical_json(self.config.model_dump(mode="json")))
        return {
            "spec": config,
            "lock": config,
            "set": root,
            "pack": sha256_hex(b""),
            "base": base_digest(self.base.files),
            "seed": effective_seed(self.config.seed, root=root),
        }


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch and ask for deterministic kernels; afterwards everything is as it was.

    cuBLAS is only deterministic with a fixed workspace, which has to be set before its first use.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    asked, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # no kernel reads it; filling costs time
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=warned)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def _check_type(model: Any, plan: Plan) -> None:
    """Refuse weights of another type than was planned. Raises TrainError."""
    loaded = str(model.config.dtype).removeprefix("torch.")
    if loaded != plan.dtype:
        raise TrainError(
            f"the weights were loaded as {loaded}, {plan.dtype} was planned",
            hint=f"set train.dtype: {loaded}",
        )


def _entering(model: Any, family: Family, plan: Plan, config: VLMTrainConfig) -> Callable[[int], None]:
    """Return what makes a wrapped model ready for a step."""
    return lambda step: freeze.training_mode(model, family, plan, warming=warming(config, step))


def _pad_token(processor: Any) -> int:
    tokenizer = processor.tokenizer
    token = tokenizer.pad_token_id
    return int(token if token is not None else tokenizer.eos_token_id)


def _metrics(trace: steps.Trace, rows: Rows, held: Rows | Sequence[Row]) -> dict[str, Any]:
    return {
        "train_examples": len(rows),
        "truncated": rows.truncated,
        "dropped": rows.dropped,
        "validation_dropped": list(getattr(held, "dropped", ())),
        "steps": len(trace.losses),
        "kept_step": trace.kept_step,
        "checkpoint": "best" if trace.kept_best else "last",
        "loss": trace.losses[-1],
        "losses": trace.losses,
        "validation_loss": min((loss for _, loss in trace.validation), default=None),
        "steps_ns": trace.steps_ns,
    }

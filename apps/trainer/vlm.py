"""The vision-language trainer: plan, load, freeze, train, observe, save; read it top to bottom.

    from apps.trainer.vlm import vlm_trainer, VLMTrainConfig
    trainer = vlm_trainer(model_id=..., train_dataset=rows, config=VLMTrainConfig(lora_r=16))
    result = trainer.train()

Rows are dicts with `image` (a PIL image, a path or a base64 string; a list for several), `prompt`
and `response`. The base is a checkpoint folder or a hub id.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.trainer import freeze, steps
from apps.trainer.bases import Base, find_base
from apps.trainer.collate import Encoder, Row
from apps.trainer.load import load_model, meta_model
from apps.trainer.plan import Plan, plan_for
from apps.trainer.processor import load_processor
from apps.trainer.rows import Rows
from kolm.canonical import canonical_json
from kolm.cid import sha256_hex
from kolm.dataset import Dataset, dataset_of
from kolm.errors import SpecError, StorageError
from kolm.files import read_bytes, write_atomic
from kolm.modules import ModuleManifest
from kolm.spec import VLMTrainConfig, refuse_unsupported
from kolm.trainlog import Chain, base_digest, effective_seed

__all__ = ["TrainResult", "VLMTrainConfig", "VLMTrainer", "vlm_trainer"]


@dataclass(frozen=True)
class TrainResult:
    """What training left behind."""

    adapter_dir: Path
    """Folder that `PeftModel.from_pretrained` takes."""
    manifest: ModuleManifest
    """Every parameter of the live model as it was seen after training."""
    log: bytes
    """The step log, JSON Lines (specs/formats/trainlog.md)."""
    metrics: dict[str, Any]
    """`steps`, `loss`, `validation_loss`, `kept_step`, `steps_ns`, `train_examples`, ..."""


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
        if self.validation is None and (self.config.keep == "best" or self.config.eval_steps):
            raise SpecError(
                "keep: best and eval_steps need validation rows", hint="give validation_dataset, or drop them"
            )
        return plan_for(meta_model(self.base), self.base.family, self.config)

    def train(self) -> TrainResult:
        """Train and return the adapter with the manifest of what was observed.

        Raises TrainError, DataError, and FreezeMismatchError when the live model is not the plan's.
        """
        plan = self.plan()
        commitment = dict(self.commitment or self._own_commitment())
        with deterministic(int(commitment["seed"])):
            return self._train(plan, commitment)

    def _train(self, plan: Plan, commitment: Mapping[str, Any]) -> TrainResult:
        model = load_model(self.base, self.config)
        encoder = Encoder(load_processor(self.base, **self.pixels), model.config, self.base.family)
        rows = Rows(encoder, self.dataset, self.config)
        held = Rows(encoder, self.validation, self.config) if self.validation else []

        before = freeze.digests(model)
        wrapped = freeze.wrap(model, plan, self.config)
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
            enter_training=lambda: freeze.training_mode(wrapped, self.base.family, plan),
            progress=self.progress,
        )

        manifest = freeze.observe(wrapped, base=self.base, before=before, gradients=trace.gradients)
        freeze.compare(manifest, plan)
        adapter_dir = save_adapter(wrapped, plan, self.base, self.output_dir / "adapter")
        return TrainResult(adapter_dir, manifest, log.to_bytes(), _metrics(trace, rows, held))

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


def save_adapter(model: Any, plan: Plan, base: Base, folder: Path) -> Path:
    """Write the adapter as PEFT does, with a config whose bytes depend on nothing but its content.

    PEFT writes `target_modules` in hash order and shortened to suffixes, and the folder the base was
    loaded from; the full sorted list and the base's name are written instead.
    """
    from safetensors import SafetensorError

    try:
        model.save_pretrained(str(folder), save_embedding_layers=False)
    except (OSError, SafetensorError) as err:
        raise StorageError(f"cannot write the adapter to {folder}: {err}", hint="is the disk full?") from err
    path = folder / "adapter_config.json"
    config = json.loads(read_bytes(path, what="adapter config"))
    config |= {"target_modules": list(plan.targets), "base_model_name_or_path": base.model}
    config |= {"revision": base.revision, "modules_to_save": list(plan.full_modules) or None}
    write_atomic(path, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    (folder / "README.md").unlink(missing_ok=True)
    return folder


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

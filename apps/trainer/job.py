"""One spec's training job: what the pipeline asks of a trainer, answered by the trainer in `vlm.py`."""

import platform
import resource
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apps.trainer import steps
from apps.trainer.bases import PROCESSOR_FILES, Base, find_base, remember_base
from apps.trainer.collate import Encoder
from apps.trainer.devices import running_on
from apps.trainer.generate import LoadedModel, open_model
from apps.trainer.groups import ROWS_AT_ONCE
from apps.trainer.load import device_of, meta_model, model_to_plan
from apps.trainer.plan import Plan, plan_for
from apps.trainer.processor import load_processor
from apps.trainer.questions import Encodings
from apps.trainer.vlm import TrainResult, VLMTrainer
from kolm import __version__
from kolm.dataset import Dataset
from kolm.modules import ModuleManifest
from kolm.pack import EvalPack
from kolm.spec import LoadedSpec

_PACKAGES = ("accelerate", "numpy", "peft", "pillow", "safetensors", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Job:
    """A spec whose base was found and whose freeze is planned; no weight has been read."""

    loaded: LoadedSpec
    base: Base
    plan: Plan

    @classmethod
    def open(cls, loaded: LoadedSpec, *, weights: bool = True) -> "Job":
        """Find the base of a spec and plan its freeze; without `weights` no weight file is needed.

        Raises SpecError, UnknownFamilyError, TrainError.
        """
        spec = loaded.spec
        base = find_base(
            loaded.base_source(),
            model=spec.base.model,
            revision=spec.base.revision,
            trust=spec.base.trust_remote_code,
            weights=weights,
        )
        if not base.family.pixel_limits and (spec.processor.min_pixels or spec.processor.max_pixels):
            sized = "scales every image to one size" if base.family.sees_images else "reads text only"
            raise loaded.error(
                "processor",
                message=f"{base.family.name} {sized}; pixel limits have no effect",
                hint="remove the section",
            )
        if base.family.batches == "alone" and spec.generation.batch not in ("auto", 1):
            raise loaded.error(
                "generation.batch",
                message=f"{base.family.name} was not shown to give the same answers in batches",
                hint="remove it: questions are asked one at a time",
            )
        return cls(loaded, base, plan_for(model_to_plan(base, spec.train), base.family, spec.train))

    def check_pack(self, pack: EvalPack) -> None:
        """Encode every question once, so that one the processor refuses is found before training.

        Raises DataError naming the row.
        """
        config = meta_model(self.base).config
        encoder = Encoder(load_processor(self.base, **self._pixels), config, self.base.family)
        for row in pack.rows:
            images = [pack.image(cid) for cid in row.images]
            encoder.prompt(row.turns, images, what=f"eval row {row.id}")

    @property
    def family(self) -> str:
        """Name of the base's family."""
        return self.base.family.name

    @property
    def sees_images(self) -> bool:
        """Whether the base looks at images; if not, training and eval rows hold text alone."""
        return self.base.family.sees_images

    @property
    def base_identity(self) -> dict[str, Any]:
        """The base as a manifest names it."""
        return self.base.identity

    @property
    def targets(self) -> list[str]:
        """Full names of the modules that get LoRA factors."""
        return list(self.plan.targets)

    @property
    def target_parameters(self) -> list[str]:
        """Full names of the 3-D expert parameters that get LoRA factors."""
        return sorted(self.plan.target_parameters)

    @property
    def batch(self) -> int:
        """Most questions asked at once that the spec and the base's family allow."""
        if self.base.family.batches == "alone":
            return 1
        wanted = self.loaded.spec.generation.batch
        return ROWS_AT_ONCE if wanted == "auto" else wanted

    @property
    def cost(self) -> dict[str, int]:
        """Parameter counts behind the C axis."""
        return {
            "language_params": self.plan.elements("language", "head"),
            "added_params": self.plan.added,
            "vision_params": self.plan.elements("vision", "projector"),
        }

    @cached_property
    def processor(self) -> dict[str, Any]:
        """What turns images and text into tensors: classes, image backend, image size limits."""
        processor = load_processor(self.base, **self._pixels)
        if not self.sees_images:
            return {
                "class": type(processor.tokenizer).__name__,
                "image_processor": None,
                "backend": None,
                "size": {},
                **self._pixels,
            }
        from transformers.image_processing_backends import TorchvisionBackend

        images = processor.image_processor
        size = getattr(images, "size", None)
        return {
            "class": type(processor).__name__,
            "image_processor": type(images).__name__,
            "backend": "torchvision" if isinstance(images, TorchvisionBackend) else "pil",
            "size": {key: value for key, value in dict(size).items() if value is not None} if size else {},
            **self._pixels,
        }

    @property
    def resolved(self) -> dict[str, Any]:
        """What the settings that say `auto` mean here."""
        config = self.loaded.spec.train
        held = self.loaded.spec.data.validation or self.loaded.spec.data.split
        return {
            "device": device_of(config).partition(":")[0],
            "dtype": self.plan.dtype,
            "keep": config.keep or ("best" if held else "last"),
            "parts": {part: self.plan.treatments[part] for part in sorted(set(self.plan.parts.values()))},
            "servable_as": self.plan.servable_as,
            "stands": self.plan.stands,
        }

    @property
    def processor_files(self) -> dict[str, Path]:
        """Processor files of the base, by the name of their member in the artifact."""
        found = (self.base.directory / name for name in PROCESSOR_FILES)
        return {f"processor/{path.name}": path for path in found if path.is_file()}

    def versions(self) -> dict[str, str]:
        """Versions of everything that changes an output byte."""
        config = self.loaded.spec.train
        eight_bits = config.quantization is not None or config.optim == "adamw_8bit"
        needed = [name for name in self.base.family.needs if find_spec(name)]
        packages = {*_PACKAGES, *needed, *(("bitsandbytes",) if eight_bits else ())}
        return {"kolm": __version__, "python": platform.python_version()} | {
            name: version(name) for name in sorted(packages)
        }

    def predict(self, dataset: Dataset) -> dict[str, int | None]:
        """Return `{peak_bytes, step_ns}` as the plan has them, None where it has not."""
        from apps.trainer.prediction import predict  # which works on jobs itself

        return predict(self, dataset)

    def train(
        self,
        dataset: Dataset,
        validation: Dataset | None,
        *,
        commitment: Mapping[str, Any],
        folder: Path,
        progress: steps.Progress | None,
    ) -> TrainResult:
        """Train in `folder`. Raises TrainError, DataError, FreezeMismatchError."""
        remember_base(self.base)
        return VLMTrainer(
            base=self.base,
            dataset=dataset,
            validation=validation,
            config=self.loaded.spec.train,
            output_dir=folder,
            pixels=self._pixels,
            commitment=commitment,
            progress=progress,
        ).train()

    def open_base(self) -> LoadedModel:
        """Load the base alone, to be asked."""
        return open_model(self.base, self.loaded.spec.train, encodings=self._encodings, **self._pixels)

    def open_tuned(self, adapter: Path, manifest: ModuleManifest) -> LoadedModel:
        """Load the base with the adapter as it was saved, to be asked."""
        return open_model(
            self.base,
            self.loaded.spec.train,
            trained=adapter,
            manifest=manifest,
            encodings=self._encodings,
            **self._pixels,
        )

    def train_block(self, result: TrainResult) -> dict[str, Any]:
        """The receipt's `vlm_train` or `text_train`: settings that were used, modules that were observed."""
        config, manifest, metrics = self.loaded.spec.train, result.manifest, result.metrics
        sight = {"freeze_vision": manifest.vision_frozen} if self.sees_images else {}
        return {
            "model_id": self.base.model,
            "papers": list(self.base.family.papers),
            "method": config.method,
            "lora_r": config.lora_r,
            "lora_alpha": config.lora_alpha,
            "lora_dropout": config.lora_dropout,
            "lora_targets": list(config.lora_targets),
            "bias": config.bias,
            **sight,
            "frozen_modules": manifest.frozen_modules,
            "trainable_modules": manifest.trainable_modules,
            "left_frozen": manifest.left_frozen,
            "parts": manifest.treatments(),
            "servable_as": manifest.servable_as,
            "learning_rate": config.learning_rate,
            "lr_scheduler": config.lr_scheduler,
            "optim": config.optim,
            "max_seq_length": config.max_seq_length,
            "num_train_epochs": config.num_train_epochs,
            "train_examples": metrics["train_examples"],
            "truncated_examples": len(metrics["truncated"]),
            "dropped_examples": len(metrics["dropped"]),
            "steps": metrics["steps"],
            "best_step": metrics["kept_step"],
            "checkpoint": metrics["checkpoint"],
            "reopened": metrics["reopened"],
            "seed": config.seed,
        }

    def environment(self) -> dict[str, Any]:
        """What this ran on, as observed."""
        return {
            "versions": self.versions(),
            "platform": platform.platform(),
            "host": socket.gethostname(),
            **running_on(device_of(self.loaded.spec.train)),
            "image_backend": self.processor["backend"],
        }

    def peak_memory(self) -> int:
        """Return the highest memory use so far in bytes: of the GPU where there is one, else resident."""
        import torch

        device = device_of(self.loaded.spec.train)
        if device.startswith("cuda"):
            return int(torch.cuda.max_memory_allocated(device))
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kilobytes on Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    @cached_property
    def _encodings(self) -> Encodings:
        """What both models are asked is encoded once."""
        return Encodings()

    @property
    def _pixels(self) -> dict[str, int | None]:
        limits = self.loaded.spec.processor
        return {"min_pixels": limits.min_pixels, "max_pixels": limits.max_pixels}

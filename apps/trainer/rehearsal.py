"""One training step on tensors without data: what it will hold at most, and how much work it is.

The graph is the one that will run: the wrapped model, the autocast and the loss of the training loop,
on a batch of real rows. Weights are `FakeTensor`s of PyTorch, which have shapes and types but no memory, and
so is everything computed from them. Families whose forward pass asks a tensor for its values are rehearsed
without their vision tower, from the embeddings on.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from apps.trainer import freeze, steps
from apps.trainer.families import Family
from apps.trainer.foreign import quiet
from apps.trainer.meter import Meter, Work
from apps.trainer.plan import Plan
from kolm.spec import VLMTrainConfig

Extent = Literal["step", "language", "formula"]
"""What was rehearsed: the whole step; the step from the embeddings on; nothing, sizes come from shapes."""


@dataclass(frozen=True)
class Rehearsal:
    """What one optimizer step takes, its optimizer's state included."""

    extent: Extent
    weights_bytes: int
    """The base's parameters and buffers, in the type they are loaded in."""
    adapter_bytes: int
    """Trained parameters: LoRA factors and copies of modules that are trained in full."""
    activations_bytes: int
    """Most that forward and backward hold at one moment beside weights, adapter and gradients."""
    churned_bytes: int
    """Everything that forward and backward take in small pieces, one after the other."""
    optimizer_bytes: int
    """AdamW's two moments of everything that is trained (Loshchilov and Hutter, arXiv:1711.05101)."""
    work: Work
    """Of one forward and backward pass, recomputation included."""

    @property
    def gradients_bytes(self) -> int:
        """Gradients of everything that is trained."""
        return self.adapter_bytes

    @property
    def total_bytes(self) -> int:
        """Everything at the moment when most is held."""
        held = self.weights_bytes + self.adapter_bytes + self.gradients_bytes + self.optimizer_bytes
        return held + self.activations_bytes


def moments(trained_bytes: int, config: VLMTrainConfig) -> int:
    """Return the bytes of AdamW's two moments, kept in 8 bits or in the type of the trained parameters."""
    return trained_bytes // 2 if config.optim == "adamw_8bit" else 2 * trained_bytes


_UNFIT = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, ImportError)
"""What models raise when they ask a tensor without data for its values, or miss an input."""


@dataclass(frozen=True)
class Packed:
    """What quantised weights change: the rehearsal itself runs on whole ones."""

    saved_bytes: int = 0
    """Bytes that they are smaller by."""
    unpacked_bytes: int = 0
    """The largest of them, expanded for one multiplication."""

    @classmethod
    def of(cls, sizes: Sequence[int], *, bits: int, double: bool, width: int) -> "Packed":
        """Return the change for matrices of these numbers of elements, `width` bytes each.

        4-bit blocks of 64 have a scale of 4 bytes, or of 1 byte and 4 bytes for each 256 of those
        (arXiv:2305.14314, section 3); 8-bit rows one of 4 bytes, which is left out.
        """
        scale = 0.0 if bits == 8 else 1 / 64 + 4 / (64 * 256) if double else 4 / 64
        whole = sum(sizes)
        return cls(round(whole * (width - bits / 8 - scale)), 2 * max(sizes, default=0))


class Stage:
    """A wrapped model without data, on which steps are rehearsed."""

    def __init__(
        self, model: Any, family: Family, plan: Plan, config: VLMTrainConfig, *, packed: Packed | None = None
    ) -> None:
        """Wrap a model that is on the meta device; it is changed and of no further use."""
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode

        self._family, self._plan, self._config = family, plan, config
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._packed = packed or Packed()
        self._accumulates = config.gradient_accumulation_steps > 1
        self._model = model.to(getattr(torch, plan.dtype))
        self.wrapped = freeze.wrap(self._model, plan, config)
        self._without_data(self.wrapped)

    def rehearse(self, batch: dict[str, Any], *, checkpointing: bool) -> Rehearsal | None:
        """Run one step over a batch with `input_ids`, `labels` and the processor's other keys.

        None when not even the language model can be run without data.
        """
        self._checkpoint(checkpointing)
        freeze.training_mode(self.wrapped, self._family, self._plan)
        try:
            return self._run("step", lambda: steps.loss_of(self.wrapped, self._inputs(batch)))
        except _UNFIT:
            with contextlib.suppress(*_UNFIT):
                return self._run("language", lambda: self._language_loss(batch))
            return None

    def saved(self) -> dict[str, Any]:
        """Return the tensors that will be saved, without data, under the names in their file."""
        if not self._plan.adapts:
            live = freeze.live_parameters(self.wrapped)
            return {name: live[name] for name in self._plan.trained}
        from peft import get_peft_model_state_dict

        with quiet():
            return get_peft_model_state_dict(self.wrapped, save_embedding_layers=False)

    def _run(self, extent: Extent, loss: Callable[[], Any]) -> Rehearsal:
        import torch

        meter = Meter()
        trained = [p for p in self.wrapped.parameters() if p.requires_grad]
        adapter = sum(p.numel() * p.element_size() for p in trained)
        for parameter in trained:  # as in every pass but the first of a step
            parameter.grad = self._empty(parameter) if self._accumulates else None
        meter.hold((*self.wrapped.parameters(), *self.wrapped.buffers()))
        weights = meter.live_bytes - adapter
        meter.hold(p.grad for p in trained if p.grad is not None)
        before = meter.churned_bytes
        with quiet(), meter.watching():
            with torch.autocast("cpu", torch.bfloat16, enabled=self._config.bf16):
                share = loss()
            share.backward()
        return Rehearsal(
            extent=extent,
            weights_bytes=weights - self._packed.saved_bytes,
            adapter_bytes=adapter,
            activations_bytes=max(meter.peak_bytes - weights - 2 * adapter, 0) + self._packed.unpacked_bytes,
            churned_bytes=meter.churned_bytes - before,
            optimizer_bytes=moments(adapter, self._config),
            work=meter.work,
        )

    def _language_loss(self, batch: dict[str, Any]) -> Any:
        """Loss of the language model alone, from embeddings as long as the batch."""
        import torch

        embedding = self._model.get_input_embeddings().weight
        with self._fake:
            embeds = torch.empty(
                (*batch["input_ids"].shape, embedding.shape[1]), dtype=embedding.dtype, requires_grad=False
            )
        others = {key: batch[key] for key in batch if key == "labels" or key.startswith("decoder_")}
        return steps.loss_of(self.wrapped, {"inputs_embeds": embeds, **others})

    def _inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch as it is: code asks for ids and sizes, some for padding among the pixels."""
        return {key: self._empty(tensor) if tensor.is_meta else tensor for key, tensor in batch.items()}

    def _checkpoint(self, enabled: bool) -> None:
        if not self._model.supports_gradient_checkpointing:
            return  # some code that comes with a model has no such thing
        if enabled:
            self._model.activation_checkpointing_enable({"use_reentrant": False})
        else:
            self._model.activation_checkpointing_disable()

    def _without_data(self, model: Any) -> None:
        """Put tensors without data in the place of parameters and buffers; ties stay ties."""
        import torch

        made: dict[int, Any] = {}
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in made:
                    made[id(parameter)] = torch.nn.Parameter(
                        self._empty(parameter), requires_grad=parameter.requires_grad
                    )
                if parameter is not None:
                    module._parameters[name] = made[id(parameter)]
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = self._empty(buffer)

    def _empty(self, tensor: Any) -> Any:
        import torch

        with self._fake:
            return torch.empty(tensor.shape, dtype=tensor.dtype)

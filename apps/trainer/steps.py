"""The training loop, top to bottom: batches, loss, gradients, schedule, validation, best weights."""

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.trainer.collate import Row, batched, collate
from apps.trainer.freeze import live_parameters
from apps.trainer.optimizer import make_optimizer
from apps.trainer.schedule import windows
from kolm.errors import TrainError
from kolm.schedule import count_steps, rising_steps, validation_interval
from kolm.spec import VLMTrainConfig
from kolm.trainlog import Chain

Progress = Callable[[int, int, float], None]
"""Called after each optimizer step with (step, steps in all, loss)."""


@dataclass
class Trace:
    """What was seen while training."""

    gradients: dict[str, float] = field(default_factory=dict)
    """Largest gradient L2 norm of each trained parameter, before clipping, by plain name."""
    steps_ns: list[int] = field(default_factory=list)
    """Wall time of each optimizer step in nanoseconds."""
    losses: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean loss per supervised token) over the validation rows."""
    kept_step: int = 0
    """The step whose weights were kept."""
    kept_best: bool = False
    """Whether that was decided by validation loss; otherwise it is the last step."""


def train(
    model: Any,
    rows: Sequence[Row],
    validation: Sequence[Row],
    config: VLMTrainConfig,
    *,
    seed: int,
    pad_token: int,
    log: Chain,
    enter_training: Callable[[int], None],
    projector: Collection[str] = (),
    progress: Progress | None = None,
) -> Trace:
    """Train the parameters of `model` that require gradients, in place.

    One optimizer step consumes `per_device_train_batch_size x gradient_accumulation_steps` rows and
    weighs every supervised token alike. `enter_training` makes the model ready for a step; `projector` are
    the plain names that `projector_lr` is for. Raises TrainError when the loss stops being a number.
    """
    import torch

    steps, every = count_steps(len(rows), config), validation_interval(config, len(rows))
    loop = _Loop(model, config, steps, pad_token=pad_token, projector=projector)
    trace, best = loop.trace, _Best(config)
    enter_training(1)
    for step, window in enumerate(windows(rows, config, steps=steps, seed=seed), start=1):
        if step == config.projector_warmup_steps + 1:
            enter_training(step)
        log.append({"step": step, **loop.step(window, step)})
        if progress and (step == steps or step % config.logging_steps == 0):
            progress(step, steps, trace.losses[-1])
        if validation and (step == steps or step % every == 0):
            mean = loop.validate(validation)
            enter_training(step)
            trace.validation.append((step, mean))
            log.append({"step": step, "validation_loss": _figure(mean)})
            best.offer(loop.trained, step, _figure(mean))  # as the log has it
    with torch.no_grad():
        best_step = best.restore(loop.trained)
    trace.kept_step, trace.kept_best = best_step or steps, best_step is not None
    return trace


class _Loop:
    """What one optimizer step needs: the trained tensors, their optimizer, its schedule."""

    def __init__(
        self,
        model: Any,
        config: VLMTrainConfig,
        steps: int,
        *,
        pad_token: int,
        projector: Collection[str],
    ) -> None:
        import torch
        from accelerate import Accelerator
        from transformers import get_scheduler

        # accelerate keeps one device and precision per process; the model's own are used: runs may differ
        self.device = next(model.parameters()).device
        self.accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision="no")
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16)
        self.model, self.config, self.pad_token = model, config, pad_token
        self.trained = {name: p for name, p in live_parameters(model).items() if p.requires_grad}
        self.optimizer = make_optimizer(self.trained, config, projector=projector)
        rising = rising_steps(config, steps)
        constant = config.lr_scheduler == "constant" and rising  # transformers' plain one does not rise
        self.scheduler = get_scheduler(
            "constant_with_warmup" if constant else config.lr_scheduler,
            self.optimizer,
            num_warmup_steps=rising,
            num_training_steps=steps,
        )
        self.trace = Trace()

    def step(self, window: Sequence[Row], step: int) -> dict[str, Any]:
        """Take one optimizer step over these rows and return what the log says of it. Raises TrainError."""
        began = time.perf_counter_ns()
        size = self.config.per_device_train_batch_size
        batches = [self._batch(rows) for rows in batched(window, size)]
        targets = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
        loss = 0.0
        for batch in batches:
            with memory_watched():
                with self.autocast:
                    share = loss_of(self.model, _to(batch, self.device)) / targets
                if share.requires_grad:  # a batch without images says nothing to a projector trained alone
                    self.accelerator.backward(share)
            loss += share.item()
        norm = _clip(self.trained, self.config.max_grad_norm, self.trace.gradients)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainError(
                f"step {step}: the loss is {loss}, the gradient norm {norm}",
                hint="lower train.learning_rate, or set train.bf16: false",
            )
        lr = float(self.scheduler.get_last_lr()[0])
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.trace.steps_ns.append(time.perf_counter_ns() - began)
        self.trace.losses.append(loss)
        return {
            "rows": [row.id for row in window],
            "batch": _batch_digest(batches),
            "lr": _figure(lr),
            "loss": _figure(loss),
            "grad_norm": _figure(norm),
        }

    def validate(self, rows: Sequence[Row]) -> float:
        """Return the mean loss per supervised token over the validation rows; leaves eval mode on."""
        import torch

        self.model.eval()
        total, tokens = 0.0, 0
        size = self.config.per_device_train_batch_size
        with torch.no_grad(), self.autocast, memory_watched():
            for start in range(0, len(rows), size):
                for part in batched(rows[start : start + size], size):
                    batch = _to(self._batch(part), self.device)
                    tokens += int((batch["labels"][:, 1:] != -100).sum())
                    total += loss_of(self.model, batch).item()
        return total / tokens

    def _batch(self, rows: Sequence[Row]) -> dict[str, Any]:
        return collate(rows, pad_token=self.pad_token)


@contextlib.contextmanager
def memory_watched() -> Iterator[None]:
    """Turn running out of memory into an error that names the settings to change. Raises TrainError."""
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as err:
        if not isinstance(err, (MemoryError, torch.OutOfMemoryError)) and "allocate memory" not in str(err):
            raise
        raise TrainError(
            "out of memory",
            hint="lower train.per_device_train_batch_size or processor.max_pixels, "
            "or set train.gradient_checkpointing: true",
        ) from err


def loss_of(model: Any, batch: dict[str, Any]) -> Any:
    """Return the summed cross-entropy over supervised tokens, a scalar."""
    import torch

    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits  # [B, L, vocabulary]
    targets = labels[:, 1:]  # [B, L-1]
    kept = targets != -100
    return torch.nn.functional.cross_entropy(logits[:, :-1][kept].float(), targets[kept], reduction="sum")


def _clip(trained: dict[str, Any], limit: float | None, largest: dict[str, float]) -> float:
    """Clip gradients to a total L2 norm of `limit`, note each one's norm before, return the total."""
    import torch

    names = [name for name, p in trained.items() if p.grad is not None]
    grads = [trained[name].grad for name in names]
    if not grads:
        raise TrainError(
            "no trained parameter received a gradient",
            hint="check parts and lora_targets; a projector that trains alone needs an image in every step",
        )
    norms = torch.stack(torch._foreach_norm(grads)).float()
    total = float(torch.linalg.vector_norm(norms))
    for name, norm in zip(names, norms.tolist(), strict=True):
        largest[name] = max(largest.get(name, 0.0), norm)
    if limit and total > limit:
        torch._foreach_mul_(grads, limit / (total + 1e-6))
    return total


def _to(batch: dict[str, Any], device: Any) -> dict[str, Any]:
    return {key: tensor.to(device) for key, tensor in batch.items()}


def _batch_digest(batches: Sequence[dict[str, Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of the processed tensors of one step."""
    digest = hashlib.sha256()
    for batch in batches:
        for key in sorted(batch):
            tensor = batch[key].contiguous()
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _figure(value: float) -> float:
    """Round to 9 significant digits: all that a float32 holds."""
    return float(f"{value:.9g}")


class _Best:
    """The trained weights with the lowest validation loss so far, kept in memory."""

    def __init__(self, config: VLMTrainConfig) -> None:
        self._wanted = config.keep != "last"
        self._loss = math.inf
        self._step = 0
        self._weights: dict[str, Any] = {}

    def offer(self, trained: dict[str, Any], step: int, loss: float) -> None:
        if self._wanted and loss < self._loss:
            self._loss, self._step = loss, step
            self._weights = {name: p.detach().clone() for name, p in trained.items()}

    def restore(self, trained: dict[str, Any]) -> int | None:
        """Put the best weights back; returns their step, or None when the last ones stay."""
        for name, weights in self._weights.items():
            trained[name].copy_(weights)
        return self._step or None

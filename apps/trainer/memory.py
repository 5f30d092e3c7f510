"""Peak memory of a training run, by what holds it: predicted from a rehearsal, or from shapes alone."""

import math
from dataclasses import dataclass
from typing import Any

from apps.trainer.meter import Work
from apps.trainer.plan import Plan
from apps.trainer.rehearsal import Rehearsal, moments
from kolm.spec import VLMTrainConfig

PROCESS_BYTES = 450 << 20
"""Resident memory of a process that has imported torch, transformers and peft and holds a processor: measured
with torch 2.13 and transformers 5.23."""

CUDA_CONTEXT_BYTES = 600 << 20
"""Allowance for what CUDA and cuBLAS take of a GPU beside tensors; it is not seen by torch's own counters."""

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}


@dataclass(frozen=True)
class Memory:
    """Bytes at the moment when most is held."""

    weights_bytes: int
    adapter_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    """What forward and backward hold at most, logits included."""
    process_bytes: int = 0
    """Interpreter and libraries; nothing on a GPU."""
    rows_bytes: int = 0
    """Encoded rows kept between steps; nothing on a GPU."""
    allocator_bytes: int = 0
    """Holes that the allocator cannot use again."""

    @property
    def total_bytes(self) -> int:
        """The peak."""
        return sum(vars(self).values())


def on_cpu(rehearsal: Rehearsal, *, rows_bytes: int) -> Memory:
    """Return the peak resident memory of a process that trains on the CPU.

    glibc before 2.38 cannot use the hole that an aligned piece leaves for another of the same size
    (sourceware bug 14581). Half the geometric mean of what is held and what is churned is within 10 % of the
    peak of eight runs: 155 and 395 tokens, with and without bfloat16 and gradient checkpointing.
    """
    holes = 0.5 * math.sqrt(rehearsal.activations_bytes * rehearsal.churned_bytes)
    return _memory(
        rehearsal, process_bytes=PROCESS_BYTES, rows_bytes=rows_bytes, allocator_bytes=round(holes)
    )


def on_gpu(rehearsal: Rehearsal) -> Memory:
    """Return the peak of what torch allocates on a GPU; CUDA_CONTEXT_BYTES come on top."""
    return _memory(rehearsal)


def _memory(rehearsal: Rehearsal, **others: int) -> Memory:
    return Memory(
        weights_bytes=rehearsal.weights_bytes,
        adapter_bytes=rehearsal.adapter_bytes,
        gradients_bytes=rehearsal.gradients_bytes,
        optimizer_bytes=rehearsal.optimizer_bytes,
        activations_bytes=rehearsal.activations_bytes,
        **others,
    )


def from_shapes(
    plan: Plan, config: VLMTrainConfig, *, tokens: int, patches: int, checkpointing: bool
) -> Rehearsal:
    """Estimate a step from names and shapes alone, for models that cannot be built.

    Each matrix of the language tower keeps its input and makes its output, once per token, and the norms,
    gates and rotations between them as much again; with checkpointing only one layer does at a time. The
    head's logits stand twice, in the type of the weights and as the float32 gradient.
    """
    width = _WIDTH[plan.dtype]
    matrices = {n: s for n, s in plan.shapes.items() if len(s) == 2 and plan.parts[n] == "language"}
    layers = max(_layers(matrices), 1)
    rows = [s for n, s in matrices.items() if _numbered(n)]
    kept = 2 * tokens * width * sum(sum(shape) for shape in rows)
    vocabulary, hidden = max(plan.shapes.values(), key=lambda s: s[0] if len(s) == 2 else 0)[:2]
    if checkpointing:
        kept = kept // layers + layers * tokens * hidden * width
    trained = _trained_bytes(plan, width)
    language = plan.elements("language", "head")
    passes = 3 if checkpointing else 2
    seen = plan.elements("vision", "projector")
    return Rehearsal(
        extent="formula",
        weights_bytes=width * sum(math.prod(shape) for shape in plan.shapes.values()),
        adapter_bytes=trained,
        activations_bytes=kept + 2 * tokens * vocabulary * width,
        churned_bytes=passes * kept,
        optimizer_bytes=moments(trained, config),
        work=Work(flops=2 * (passes * language * tokens + seen * patches)),
    )


def _trained_bytes(plan: Plan, width: int) -> int:
    """Bytes of LoRA factors, which PEFT keeps in float32, and of what is trained in full."""
    own = sum(math.prod(s) for n, s in plan.shapes.items() if plan.states[n] == "trainable")
    return 4 * plan.added + width * own


def _numbered(name: str) -> bool:
    return any(piece.isdigit() for piece in name.split("."))


def _layers(names: Any) -> int:
    """Count the blocks of the longest numbered list."""
    found: dict[str, set[str]] = {}
    for name in names:
        pieces = name.split(".")
        for i, piece in enumerate(pieces):
            if piece.isdigit():
                found.setdefault(".".join(pieces[:i]), set()).add(piece)
                break
    return max((len(numbers) for numbers in found.values()), default=0)

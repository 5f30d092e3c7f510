"""How fast this machine is, measured once and kept, and what real steps said about the predictions.

`rates.json` under KOLM_HOME holds both; deleting it only costs the half second to measure again.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from apps.trainer.foreign import translated
from apps.trainer.meter import Meter, Work
from kolm.errors import StorageError
from kolm.files import home, make_folder, write_atomic

_SECONDS = 0.3


@dataclass(frozen=True)
class Rate:
    """What a device does in a second, in one number type."""

    device: str
    """Name of the GPU, or `cpu` with its vector instructions."""
    dtype: str
    threads: int
    flops_per_s: float
    bytes_per_s: float
    """Read and written by element-wise kernels."""
    operation_s: float
    """Time of a kernel that does nothing, as seen from Python."""

    def seconds(self, work: Work) -> float:
        """Return how long `work` takes: each kernel is bound by arithmetic, by memory or by its call."""
        bound = work.flops / self.flops_per_s + work.moved_bytes / self.bytes_per_s
        return bound + work.operations * self.operation_s

    @property
    def key(self) -> str:
        """What it is kept under."""
        return f"{self.device} {self.dtype} {self.threads}"


@dataclass(frozen=True)
class Correction:
    """What two real steps of a family took here, divided by what was predicted."""

    time: float
    memory: float


def rate_of(device: str, dtype: str) -> Rate:
    """Return the rate of a torch device for a number type: kept, else measured in about half a second.

    Raises TrainError for a device that is not here.
    """
    import torch

    threads = torch.get_num_threads() if device == "cpu" else 1
    failure, hint = f"train.device: {device} is not on this machine", "plan it there, or with device: auto"
    with translated(failure, hint=hint):
        name = device_name(device)
    kept = _read().get("rates", {}).get(f"{name} {dtype} {threads}")
    if kept is not None:
        return Rate(**kept)
    rate = Rate(name, dtype, threads, *_measure(device, dtype))
    _keep("rates", rate.key, asdict(rate))
    return rate


def device_name(device: str) -> str:
    """Return the name of a GPU, or `cpu` with the vector instructions that torch uses."""
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"cpu {torch.backends.cpu.get_cpu_capability()}" if device == "cpu" else device


def correction(family: str, rate: Rate) -> Correction | None:
    """Return what real steps of this family said on this device, None when none was measured."""
    kept = _read().get("corrections", {}).get(f"{family} {rate.key}")
    return Correction(**kept) if kept is not None else None


def keep_correction(family: str, rate: Rate, found: Correction) -> None:
    """Keep what real steps of a family said on a device. Raises StorageError."""
    _keep("corrections", f"{family} {rate.key}", asdict(found))


def _measure(device: str, dtype: str) -> tuple[float, float, float]:
    """Time a matrix product of 512 x 2048 x 2048, an addition over 32 MB, and layers too small to matter."""
    import torch

    kind = getattr(torch, dtype)
    left, right = (torch.ones(shape, device=device, dtype=kind) for shape in ((512, 2048), (2048, 2048)))
    large = torch.ones(32 << 18, device=device)
    product = _time(lambda: left @ right, device)
    addition = _time(lambda: large.add_(1), device)
    return 2 * 512 * 2048 * 2048 / product, 2 * large.numel() * 4 / addition, _call(device)


def _call(device: str) -> float:
    """Time a forward and backward pass through layers of 8 numbers, per kernel: all of it is overhead."""
    import torch
    from torch.nn import LayerNorm, Linear, Sequential, SiLU

    layers = Sequential(
        *(make() for _ in range(4) for make in (lambda: Linear(8, 8), lambda: LayerNorm(8), SiLU))
    )
    layers, numbers = layers.to(device), torch.ones(1, 8, device=device)
    meter = Meter()
    with meter.watching():
        layers(numbers).sum().backward()
    return _time(lambda: layers(numbers).sum().backward(), device) / meter.work.operations


def _time(run: Callable[[], Any], device: str) -> float:
    """Return the least time of one call within a third of the measuring time."""
    import torch

    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    run()
    best, until = float("inf"), time.perf_counter() + _SECONDS / 3
    while time.perf_counter() < until:
        began = time.perf_counter()
        run()
        wait()
        best = min(best, time.perf_counter() - began)
    return best


def _read() -> dict[str, Any]:
    """Return what is kept; nothing when the file is missing or damaged."""
    try:
        found = json.loads((home() / "rates.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep(section: str, key: str, value: dict[str, Any]) -> None:
    """Add one entry; a home that cannot be written only costs measuring again. Raises StorageError."""
    document = _read()
    document.setdefault(section, {})[key] = value
    try:
        make_folder(home())
        write_atomic(home() / "rates.json", json.dumps(document, indent=1, sort_keys=True).encode())
    except StorageError:
        if section == "corrections":
            raise

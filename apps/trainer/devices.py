"""What torch sees of this machine."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class Devices:
    """The build of torch and what it can run on."""

    build: str
    """`CPU`, or the CUDA version it was built for."""
    gpus: tuple[Gpu, ...]
    capability: str
    """Vector instructions that its CPU kernels use."""
    threads: int


def describe_devices() -> Devices:
    """Ask torch, which must be installed."""
    import torch

    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return Devices(
        build=f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU",
        gpus=tuple(Gpu(each.name, each.total_memory) for each in found),
        capability=str(torch.backends.cpu.get_cpu_capability()),
        threads=torch.get_num_threads(),
    )


def running_on(device: str) -> dict[str, Any]:
    """Return what a model on this device runs on, in the members that a receipt's `environment` has."""
    import torch

    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }

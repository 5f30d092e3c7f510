"""What torch sees of this machine."""

from dataclasses import dataclass


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

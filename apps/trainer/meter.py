"""Count what a piece of PyTorch code holds and does, operation by operation, while it runs.

Bytes are counted by storage: a view adds nothing, and a storage counts until the last tensor and the
last saved activation that use it are gone. The code may run on tensors without data
(`torch._subclasses.FakeTensorMode`); then the count is a prediction, made from the graph that will run.
"""

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

HEAP_LIMIT = 32 << 20
"""glibc maps pieces of this size and more one by one and returns each when it is freed (mallopt(3),
M_MMAP_THRESHOLD); smaller ones leave holes in the heap."""


@dataclass(frozen=True)
class Work:
    """What some operations did."""

    flops: int = 0
    """Floating point operations of matrix products, convolutions and attention; a product and a sum are 2."""
    moved_bytes: int = 0
    """Bytes of all inputs and outputs of the other operations."""
    operations: int = 0
    """Calls of a kernel."""

    def times(self, factor: float) -> "Work":
        """Return this work done `factor` times."""
        return Work(*(round(value * factor) for value in (self.flops, self.moved_bytes, self.operations)))


class Meter:
    """Bytes held now and at most, and the work done, of everything that runs under `watching`."""

    def __init__(self) -> None:
        self.live_bytes = 0
        self.peak_bytes = 0
        self.churned_bytes = 0
        """All bytes ever taken in pieces of less than `HEAP_LIMIT`, returned ones included."""
        self._storages: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._flops = self._moved = self._operations = 0

    @property
    def work(self) -> Work:
        """What was done so far."""
        return Work(self._flops, self._moved, self._operations)

    def hold(self, tensors: Iterable[Any]) -> None:
        """Count tensors that were made elsewhere, such as weights, for as long as they live."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if self._storages.get(storage._cdata) is storage:
                continue
            self._storages[storage._cdata] = storage
            size = storage.nbytes()
            weakref.finalize(storage, self._release, size)
            self.live_bytes += size
            self.churned_bytes += size if size < HEAP_LIMIT else 0
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count what runs in this block, autograd's backward pass included."""
        with _mode(self):
            yield

    def count(self, operation: Any, inputs: list[Any], arguments: Any, keywords: Any, output: Any) -> None:
        """Add one call of a kernel and its outputs."""
        from torch.utils.flop_counter import flop_registry

        outputs = _tensors(output)
        known = {tensor.untyped_storage()._cdata for tensor in inputs}
        fresh = [tensor for tensor in outputs if tensor.untyped_storage()._cdata not in known]
        self.hold(outputs)
        packet = operation._overloadpacket
        name = str(packet).rpartition(".")[2]
        if packet in flop_registry:
            self._flops += flop_registry[packet](*arguments, **keywords, out_val=output)
        elif name.startswith(_CPU_ATTENTION):
            self._flops += _attention_flops(arguments, backward=name.endswith("_backward"))
        elif fresh or name.endswith("_"):  # otherwise a view: nothing moves
            self._moved += sum(t.numel() * t.element_size() for t in (*inputs, *fresh))
        else:
            return
        self._operations += 1

    def _release(self, size: int) -> None:
        self.live_bytes -= size


_CPU_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


def _attention_flops(arguments: Any, *, backward: bool) -> int:
    """PyTorch's counter knows the attention kernels of GPUs only; the arithmetic is the same."""
    from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

    shapes = [tensor.shape for tensor in arguments[: 4 if backward else 3]]
    return int(sdpa_backward_flop_count(*shapes) if backward else sdpa_flop_count(*shapes))


def _tensors(tree: Any) -> list[Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _mode(meter: Meter) -> Any:
    """Return a dispatch mode that reports every kernel call to `meter`."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensor
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func is torch.ops.aten.index.Tensor and isinstance(args[0], FakeTensor):
                args = (args[0], _mask_as_rows(args[0], args[1]))
            grouped = func is torch.ops.aten._grouped_mm.default and isinstance(args[0], FakeTensor)
            output = _grouped(args, kwargs) if grouped else func(*args, **kwargs)
            meter.count(func, _tensors((args, kwargs)), args, kwargs, output)
            return output

    return Watch()


def _grouped(arguments: Any, keywords: Any) -> Any:
    """Multiply groups of rows with a matrix each, as mixtures of experts do, without data in any type.

    PyTorch's rule for the result's shape insists on bfloat16; its CPU kernel does not.
    """
    import torch
    from torch.utils._pytree import tree_map_only

    dtype = arguments[0].dtype
    half = tree_map_only(
        torch.Tensor, lambda t: t.to(torch.bfloat16) if t.is_floating_point() else t, (arguments, keywords)
    )
    return torch.ops.aten._grouped_mm.default(*half[0], **half[1]).to(dtype)


def _mask_as_rows(values: Any, indices: list[Any]) -> list[Any]:
    """Replace a boolean mask that has data by as many positions as it selects.

    How many they are decides the shape of the result, which a tensor without data cannot tell; where
    they are matters to nobody here.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensor

    found: list[Any] = []
    for index in indices:
        if index is None or index.dtype != torch.bool or isinstance(index, FakeTensor):
            found.append(index)
        else:
            position = torch.zeros((), dtype=torch.int64).expand(int(index.sum()))
            found.extend(position for _ in range(index.dim()))
    return found

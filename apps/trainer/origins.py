"""Where each parameter of a live model lies in its base's safetensors files, found by content and name."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from apps.trainer.quantize import is_quantised, same_quantised
from kolm.modules import Origin, Relation
from kolm.tensors import TensorInfo, read_tensors

ADDED = Origin(file=None, key=None, relation="absent")
"""The origin of what is not in the base's files."""

_Entry = tuple[str, TensorInfo]


def tensor_digest(tensor: Any) -> str:
    """Return the SHA-256 of a tensor's raw little-endian bytes; of a quantised one, as it is packed.

    What else a quantised tensor needs to be read stands apart (`quantize.state_tensors`).
    """
    return hashlib.sha256(_raw(tensor)).hexdigest()


def _raw(tensor: Any) -> memoryview:
    """View a tensor's bytes, copying only what is not contiguous in this machine's memory."""
    import torch

    plain = tensor.detach().as_subclass(torch.Tensor).cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().data


class Origins:
    """The tensors of a base's weight files: those of `names`, or all in the folder."""

    def __init__(self, directory: Path, names: Sequence[str] | None = None) -> None:
        self._directory = directory
        self._by_digest: dict[str, list[_Entry]] = {}
        self._by_shape: dict[tuple[int, ...], list[_Entry]] = {}
        for path in sorted(
            directory.glob("*.safetensors") if names is None else map(directory.joinpath, names)
        ):
            for info in read_tensors(path).values():
                self._by_digest.setdefault(info.sha256, []).append((path.name, info))
                self._by_shape.setdefault(tuple(info.shape), []).append((path.name, info))

    def of(self, names: Sequence[str], tensor: Any, digest: str) -> Origin:
        """Say where a tensor that had this digest before training came from.

        `names` are its plain names, its own first. `identical` and `tied` (the file has it under another
        of its names) mean that the file's bytes are these; `cast` and `quantised` that they are after
        conversion to the live type; `stacked` that the bytes of several tensors follow one another in it, of
        which the first is named; `absent` none of these.
        """
        shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        same = [
            e for e in self._by_digest.get(digest, []) if tuple(e[1].shape) == shape and e[1].dtype == dtype
        ]
        if same:
            name, (file, info) = _closest(names, same)[0]
            return Origin(file=file, key=info.name, relation="identical" if name == names[0] else "tied")
        return self._converted(names, tensor, digest) or self._stacked(tensor, digest, dtype) or ADDED

    def of_state(self, weight: Origin) -> Origin:
        """Return the origin of what a quantised weight needs to be read: it was made from the same tensor."""
        return weight if weight.relation == "quantised" else ADDED

    def _converted(self, names: Sequence[str], tensor: Any, digest: str) -> Origin | None:
        """Convert the tensors of the same shape whose names are most alike, and compare."""
        packed = is_quantised(tensor)
        state = getattr(tensor, "quant_state", None)
        shape = tuple(state.shape if state is not None else tensor.shape)
        dtype = str(tensor.dtype).removeprefix("torch.")
        alike = [entry for entry in self._by_shape.get(shape, []) if entry[1].dtype != dtype]
        relation: Relation = "quantised" if packed else "cast"
        for _, (file, info) in _closest(names, alike):
            value = self._read(file, info.name)
            if same_quantised(tensor, value) if packed else tensor_digest(value.to(tensor.dtype)) == digest:
                return Origin(file=file, key=info.name, relation=relation)
        return None

    def _stacked(self, tensor: Any, digest: str, dtype: str) -> Origin | None:
        """Take a tensor apart from its beginning into tensors of the files.

        transformers joins layers and experts that a checkpoint holds one by one along the first dimension, so
        that their bytes follow one another. Bytes that training changed are not looked at.
        """
        width = tensor.shape[-1] if tensor.dim() > 1 else None
        sizes = {
            info.bytes
            for entries in self._by_shape.values()
            for _, info in entries
            if info.dtype == dtype and info.shape and width in (None, info.shape[-1])
        }
        if not sizes or is_quantised(tensor) or (raw := _raw(tensor)).nbytes <= min(sizes):
            return None
        if hashlib.sha256(raw).hexdigest() != digest:
            return None
        found = list(self._slices(raw, sorted(sizes, reverse=True), dtype))
        if not found or sum(info.bytes for _, info in found) != raw.nbytes:
            return None
        return Origin(file=found[0][0], key=found[0][1].name, relation="stacked")

    def _slices(self, raw: memoryview, sizes: list[int], dtype: str) -> Iterator[_Entry]:
        """Yield the tensors that bytes begin with, one after the other, until none fits."""
        start = 0
        while start < raw.nbytes:
            for size in sizes:
                digest = hashlib.sha256(raw[start : start + size]).hexdigest()
                entry = next((e for e in self._by_digest.get(digest, []) if e[1].dtype == dtype), None)
                if entry and start + size <= raw.nbytes:
                    break
            else:
                return
            yield entry
            start += size
            sizes = [size, *(other for other in sizes if other != size)]  # the next one is likely its like

    def _read(self, file: str, key: str) -> Any:
        from safetensors import safe_open

        with safe_open(self._directory / file, framework="pt") as tensors:
            return tensors.get_tensor(key)


def _closest(names: Sequence[str], entries: Sequence[_Entry]) -> list[tuple[str, _Entry]]:
    """Return names and the tensors whose keys are most like them; the parameter's own name comes first."""
    pairs = [(name, entry) for name in names for entry in entries]
    most = max((_common(entry[1].name, name) for name, entry in pairs), default=0)
    best = [(name, entry) for name, entry in pairs if _common(entry[1].name, name) == most]
    best.sort(key=lambda pair: pair[0] != names[0])
    return best if most else best[:1]  # names that share nothing say nothing: one is looked at


def _common(key: str, name: str) -> int:
    """Number of trailing dotted components that two names share."""
    count = 0
    for a, b in zip(reversed(key.split(".")), reversed(name.split(".")), strict=False):
        if a != b:
            break
        count += 1
    return count

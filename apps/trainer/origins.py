"""Where each parameter of a live model lies in its base's safetensors files, found by content and name."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kolm.modules import Origin
from kolm.tensors import TensorInfo, read_tensors

ADDED = Origin(file=None, key=None, relation="absent")
"""The origin of what is not in the base's files."""

_Entry = tuple[str, TensorInfo]


def tensor_digest(tensor: Any) -> str:
    """Return the SHA-256 of a tensor's raw little-endian bytes."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()


class Origins:
    """The tensors of a base's files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._by_digest: dict[str, list[_Entry]] = {}
        self._by_shape: dict[tuple[int, ...], list[_Entry]] = {}
        for path in sorted(directory.glob("*.safetensors")):
            for info in read_tensors(path).values():
                self._by_digest.setdefault(info.sha256, []).append((path.name, info))
                self._by_shape.setdefault(tuple(info.shape), []).append((path.name, info))

    def of(self, names: Sequence[str], tensor: Any, digest: str) -> Origin:
        """Say where a tensor with this digest came from.

        `names` are its plain names, its own first. `identical` and `tied` (the file has it under another
        of its names) mean that the file's bytes are these; `cast` means that they are after conversion to
        the live dtype; `absent` means neither.
        """
        shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        same = [
            e for e in self._by_digest.get(digest, []) if tuple(e[1].shape) == shape and e[1].dtype == dtype
        ]
        if same:
            name, (file, info) = _closest(names, same)
            return Origin(file=file, key=info.name, relation="identical" if name == names[0] else "tied")
        alike = [entry for entry in self._by_shape.get(shape, []) if entry[1].dtype != dtype]
        if not alike:
            return ADDED
        _, (file, info) = _closest(names, alike)
        cast = tensor_digest(self._read(file, info.name).to(tensor.dtype)) == digest
        return Origin(file=file, key=info.name, relation="cast") if cast else ADDED

    def _read(self, file: str, key: str) -> Any:
        from safetensors import safe_open

        with safe_open(self._directory / file, framework="pt") as tensors:
            return tensors.get_tensor(key)


def _closest(names: Sequence[str], entries: Sequence[_Entry]) -> tuple[str, _Entry]:
    """Choose the name and the tensor whose key is most like it; the parameter's own name wins a draw."""
    pairs = [(name, entry) for name in names for entry in entries]
    return max(pairs, key=lambda pair: (_common(pair[1][1].name, pair[0]), pair[0] == names[0]))


def _common(key: str, name: str) -> int:
    """Number of trailing dotted components that two names share."""
    count = 0
    for a, b in zip(reversed(key.split(".")), reversed(name.split(".")), strict=False):
        if a != b:
            break
        count += 1
    return count

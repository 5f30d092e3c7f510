"""Names and shapes from the headers of weight files: what a model is, where its class cannot be built."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apps.trainer.bases import Base
from apps.trainer.hub import fetch_header
from kolm.errors import ArtifactError, SpecError, TrainError
from kolm.tensors import TensorEntry, read_header

Shape = tuple[int, ...]

_PACKED = {"uint8", "int8", "int32", "uint32", "int64"}
"""Types in which quantised weights are stored, several to an element."""
_PACKED_BITS = 4
"""Bits of the narrowest weights that bitsandbytes, GPTQ, AWQ and MXFP4 store."""


def shapes_of(base: Base) -> dict[str, Shape]:
    """Return the shape of every tensor of a base by its plain name: as in memory, without `model.`.

    The files are read where they are; of those on the hub only the headers are fetched. Packed weights
    have the shape they are packed in. Raises SpecError, TrainError.
    """
    return {name.removeprefix("model."): shape for name, (_, shape) in tensors_of(base).items()}


def tensors_of(base: Base) -> dict[str, tuple[str, Shape]]:
    """Return dtype (as torch spells it) and shape of every tensor of a base by its name in the files.

    Raises SpecError, TrainError.
    """
    if base.has_weights:
        paths = [base.directory / name for name in base.weights]
        return {e.name: (e.dtype, e.shape) for path in paths for e in _header(path).values()}
    if base.revision is None:
        raise SpecError(
            f"{base.directory} holds no complete weights to read names and shapes from",
            hint="get the weight files; their headers are enough to plan",
        )
    commit = base.revision
    with ThreadPoolExecutor(max_workers=8) as pool:
        headers = pool.map(lambda name: fetch_header(base.model, commit, name), base.weights)
        return {key: value for header in headers for key, value in header.items()}


def elements_held(base: Base) -> int:
    """Count the weights in a base's files; of packed ones, the most there can be."""
    total = 0
    for name in base.weights:
        for entry in _header(base.directory / name).values():
            packed = base.quantization is not None and entry.dtype in _PACKED
            total += entry.bytes * 8 // _PACKED_BITS if packed else math.prod(entry.shape)
    return total


def dtype_held(base: Base) -> str | None:
    """Return the type of the first floating-point weight in a base's files, as torch spells it.

    Where config.json names no type, transformers loads the weights in this one.
    """
    types = (e.dtype for name in base.weights for e in _header(base.directory / name).values())
    return next((dtype for dtype in types if "float" in dtype), None)


def _header(path: Path) -> dict[str, TensorEntry]:
    """Read the header of a base's weight file. Raises TrainError naming it."""
    try:
        return read_header(path)
    except ArtifactError as err:
        raise TrainError(f"{path}: {err.message}", hint=err.hint) from err

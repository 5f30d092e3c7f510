"""How large the file will be that training leaves, to the byte."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "float64": "F64"}


@dataclass(frozen=True)
class SavedSize:
    """Size of the safetensors file with everything that was trained."""

    parameters: int
    tensors: int
    tensor_bytes: int
    header_bytes: int
    """Length field, JSON and padding in front of the tensors."""


def saved_size(tensors: Mapping[str, Any]) -> SavedSize:
    """Return the size of a file with these tensors, which need no data.

    The header is the one that the reference implementation writes: widest type first, then by name, padded
    to 8 bytes (safetensors, `serialize`).
    """
    rows = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in rows:
        start, end = end, end + tensor.numel() * tensor.element_size()
        dtype = _WORDS.get(str(tensor.dtype).removeprefix("torch."), "F32")
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return SavedSize(
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        tensors=len(rows),
        tensor_bytes=end,
        header_bytes=8 + math.ceil(text / 8) * 8,
    )

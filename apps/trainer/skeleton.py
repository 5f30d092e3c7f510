"""A model's tree of modules made from names and shapes alone, for classes that cannot be built here."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

_TABLES = ("embed", "wte", "wpe", "shared")
"""Pieces of the names of tables that are looked up, not multiplied with."""


def skeleton(shapes: Mapping[str, tuple[int, ...]], *, model_type: str, dtype: str) -> Any:
    """Return a module on the meta device whose parameters have these names and shapes.

    A matrix called `NAME.weight` is taken for a linear layer unless its name says that it is a table. That is
    a guess from names; nothing that rests on it was compared with the model.
    """
    import torch

    class Block(torch.nn.Module):
        def forward(self) -> None:
            """Say that this block can be called; a list of blocks cannot."""

    root = Block()
    root.config = SimpleNamespace(model_type=model_type, dtype=dtype)
    with torch.device("meta"):
        for name, shape in sorted(shapes.items(), key=lambda item: not item[0].endswith(".weight")):
            *path, leaf = name.split(".")
            _place(root, path, leaf, shape, biased=f"{'.'.join(path)}.bias" in shapes, block=Block)
    return root


def _place(
    root: Any, path: list[str], leaf: str, shape: tuple[int, ...], *, biased: bool, block: type
) -> None:
    """Add one parameter and the modules on the way to it."""
    import torch

    module = root
    for depth, piece in enumerate(path):
        child = module._modules.get(piece)
        if child is None:
            last, following = depth == len(path) - 1, path[depth + 1 : depth + 2]
            if last and leaf == "weight" and len(shape) == 2 and not _is_table(piece):
                child = torch.nn.Linear(shape[1], shape[0], bias=biased)
            else:
                child = torch.nn.Module() if following and following[0].isdigit() else block()
            module.add_module(piece, child)
        module = child
    if leaf not in module._parameters or module._parameters[leaf] is None:
        module.register_parameter(leaf, torch.nn.Parameter(torch.empty(shape), requires_grad=False))


def _is_table(piece: str) -> bool:
    return any(word in piece for word in _TABLES)

"""Modules whose paths changed between two versions of transformers: which saved name is which live one.

transformers moves modules and keeps the ends of their paths: 4.52 put `model.layers.0.self_attn.q_proj` of
Qwen2-VL under `model.language_model` (pull request 37033), 5.6 took `vision_model` out of CLIP's and SigLIP's
towers. So a saved root is given the one live root under which all its names exist with the same shapes;
where there is none, or more than one, nobody can say what was meant.
"""

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any

_NUMBERED = re.compile(r"(?:^|\.)[^.]+\.\d+(?:\.|$)")
"""A component followed by a number: a list of blocks, the first of which ends the root."""

_FACTOR = re.compile(r"\.(lora_[A-Za-z_]+)(?:\.weight)?$")
_NESTED = re.compile(r"(?:\.base_layer)+$")

Shapes = Mapping[str, tuple[int, ...]]


def owner_of(name: str) -> tuple[str, str]:
    """Split the name of a saved tensor into its module and what it is there: `lora_A`, `weight`, `bias`."""
    factor = _FACTOR.search(name)
    if factor is None:
        module, _, leaf = name.rpartition(".")
        return module, leaf
    return _NESTED.sub("", name[: factor.start()]), factor.group(1)


def find_roots(saved: Shapes, modules: Mapping[str, Any]) -> dict[str, str] | None:
    """Return {saved root: live root} for every root that moved, or None when there is no single way.

    `saved` are the names and shapes of the tensors of a file, `modules` the live modules by name. A saved
    module that is live under its own name has not moved.
    """
    moved: dict[str, list[tuple[str, str, tuple[int, ...]]]] = {}
    for name, shape in saved.items():
        module, leaf = owner_of(name)
        if module not in modules:
            root, rest = _split(module)
            moved.setdefault(root, []).append((rest, leaf, shape))
    choices = [_live_roots(wanted, modules) for wanted in moved.values()]
    taken = {module for name in saved if (module := owner_of(name)[0]) in modules}
    ways = [
        dict(zip(moved, way, strict=True))
        for way in itertools.product(*choices)
        if _apart(way, moved.values(), taken=taken)
    ]
    return ways[0] if len(ways) == 1 else None


def rename_module(module: str, roots: Mapping[str, str], *, live: Collection[str]) -> str:
    """Return the live path of a saved module; one that is live stays as it is."""
    if module in live:
        return module
    for root in sorted(roots, key=len, reverse=True):
        if module == root:
            return roots[root]
        if module.startswith(_under(root, "")):
            return _under(roots[root], module.removeprefix(_under(root, "")))
    return module


def rename_tensor(name: str, roots: Mapping[str, str], *, live: Collection[str]) -> str:
    """Return the live name of a saved tensor, which its module decides."""
    module, _ = owner_of(name)
    return rename_module(module, roots, live=live) + name.removeprefix(module)


def _split(module: str) -> tuple[str, str]:
    """Split a module's path where its first numbered list begins, else before its last component."""
    numbered = _NUMBERED.search(module)
    if numbered is None:
        root, _, rest = module.rpartition(".")
        return root, rest
    return module[: numbered.start()], module[numbered.start() :].removeprefix(".")


def _live_roots(wanted: list[tuple[str, str, tuple[int, ...]]], modules: Mapping[str, Any]) -> list[str]:
    """List the live roots under which every wanted module exists and takes tensors of these shapes."""
    first = wanted[0][0]
    roots = [
        name.removesuffix(first).removesuffix(".") for name in modules if f".{name}".endswith(f".{first}")
    ]
    return [
        root
        for root in roots
        if all(_fits(modules.get(_under(root, rest)), leaf, shape) for rest, leaf, shape in wanted)
    ]


def _apart(
    way: tuple[str, ...], groups: Collection[list[tuple[str, str, tuple[int, ...]]]], *, taken: set[str]
) -> bool:
    """Say whether no two saved modules would become one."""
    renamed = [
        {_under(root, rest) for rest, _, _ in wanted} for root, wanted in zip(way, groups, strict=True)
    ]
    return sum(map(len, renamed)) + len(taken) == len(taken.union(*renamed))


def _fits(module: Any, leaf: str, shape: tuple[int, ...]) -> bool:
    """Say whether a live module takes this tensor; factors are compared with the layer's two sizes.

    3-D experts have no sizes of their own: their factors are compared once the model is wrapped.
    """
    if module is None:
        return False
    sides = {"lora_A": ("in_features", -1), "lora_B": ("out_features", 0)}
    if leaf in sides:
        attribute, side = sides[leaf]
        size = getattr(module, attribute, None)
        return size is None or (bool(shape) and shape[side] == size)
    if leaf.startswith("lora_"):
        return True
    live = getattr(module, leaf, None)
    return live is not None and tuple(live.shape) == shape


def _under(root: str, rest: str) -> str:
    return f"{root}.{rest}" if root else rest

"""What models make of images: run without values, and rows counted."""

from typing import Any


def following_meta() -> Any:
    """Return a context in which an operation on tensors of both devices is one on the meta device."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves, tree_map

    def moved(value: Any) -> Any:
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    class FollowingMeta(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
            if {each.device.type for each in tensors} == {"cpu", "meta"} and "copy_" not in str(func):
                args, kwargs = tree_map(moved, args), tree_map(moved, kwargs)
            return func(*args, **(kwargs or {}))

    return FollowingMeta()


def feature_rows(found: Any) -> int:
    """Count the rows that `get_image_features` returned: a tensor, one for each image, or an output."""
    if isinstance(found, (list, tuple)):
        return sum(feature_rows(each) for each in found)
    for name in ("pooler_output", "last_hidden_state"):
        if getattr(found, name, None) is not None:
            return feature_rows(getattr(found, name))
    return int(found.numel()) // int(found.shape[-1])

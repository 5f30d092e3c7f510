"""QLoRA: the language tower's linear layers in 4 or 8 bits through bitsandbytes, and nothing else.

The scheme is that of arXiv:2305.14314 (4 bits) and arXiv:2208.07339 (8 bits). Left to itself transformers
quantises the vision tower and the projector too, so that every layer outside the language tower is named
to it, and the loaded model is compared with that. A base that is stored quantised is taken as it is.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from apps.trainer.bases import Base
from apps.trainer.foreign import translated
from apps.trainer.targets import linear_modules
from apps.trainer.treatments import treatments_of
from kolm.errors import FreezeMismatchError, SpecError, TrainError
from kolm.names import plain_name
from kolm.spec import VLMTrainConfig

BLOCK = 64
"""Weights that share a quantisation constant. On the CPU a row has to be whole blocks: of other rows
bitsandbytes 0.50.2 says nothing and expands most weights with the constant of another block."""

_REPLACED = ("Linear", "Linear4bit", "Linear8bitLt")
"""Classes of the layers that are quantised, before and after."""

_EXTRA = "pip install 'kolm[qlora]'"


def require_bitsandbytes(what: str) -> None:
    """Refuse to go on without bitsandbytes; it is looked for, not imported. Raises TrainError."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise TrainError(f"{what} needs bitsandbytes, which is not installed", hint=_EXTRA)


def check_quantization(base: Base, config: VLMTrainConfig) -> None:
    """Refuse what cannot be quantised as the spec asks, before anything is built or loaded.

    Raises SpecError, TrainError when bitsandbytes is not there.
    """
    if base.quantization is not None:
        _check_stored(base.quantization, config)
    if config.quantization is not None:
        require_bitsandbytes("train.method: qlora")


def _check_stored(stored: Mapping[str, Any], config: VLMTrainConfig) -> None:
    """Compare what a base is stored as with what the spec asks for. Raises SpecError."""
    kind, asked = _stored_as(stored), config.quantization
    if kind is None:
        name = stored.get("quant_method", "a method it does not name")
        raise SpecError(
            f"not supported yet: a base quantised with {name}",
            hint="use the model it was made from, unquantised; train.method: qlora quantises it",
        )
    if asked is None:
        raise SpecError(
            f"the base is stored quantised ({_words(kind)}), which needs train.method: qlora",
            hint=f"set train.method: qlora and train.quantization: {_flow(kind)}",
        )
    odd = {key for key, value in kind.items() if getattr(asked, key) != value}
    if odd:
        given = {key: getattr(asked, key) for key in kind}
        raise SpecError(
            f"train.quantization says {_words(given)}, the base is stored as {_words(kind)}",
            hint=f"set train.quantization: {_flow(kind)}",
        )


def _stored_as(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read transformers' BitsAndBytesConfig into our words; None for any other method or packing."""
    packing = str(stored.get("bnb_4bit_quant_storage") or "uint8").removeprefix("torch.")
    if stored.get("quant_method", "bitsandbytes") != "bitsandbytes":
        return None
    if stored.get("load_in_4bit") and packing == "uint8":
        return {
            "bits": 4,
            "type": stored.get("bnb_4bit_quant_type", "fp4"),
            "double": bool(stored.get("bnb_4bit_use_double_quant", False)),
        }
    return {"bits": 8} if stored.get("load_in_8bit") else None


def _words(kind: Mapping[str, Any]) -> str:
    """`4 bits, nf4, double`."""
    return ", ".join(
        [f"{kind['bits']} bits", *filter(None, [kind.get("type"), "double" if kind.get("double") else None])]
    )


def _flow(kind: Mapping[str, Any]) -> str:
    """The same as a YAML flow mapping: `{bits: 4, type: nf4, double: true}`."""
    return f"{{{', '.join(f'{key}: {str(value).lower()}' for key, value in kind.items())}}}"


def check_widths(model: Any, base: Base) -> None:
    """Refuse to quantise to 4 bits on the CPU what bitsandbytes would not read back. Raises SpecError."""
    linears = linear_modules(model)
    _require_blocks({name: linears[name][0] for name in language_linears(model, base)})


def _require_blocks(widths: Mapping[str, int]) -> None:
    odd = [name for name, width in widths.items() if width % BLOCK]
    if odd:
        raise SpecError(
            f"4-bit weights on the CPU: {plain_name(odd[0])} has {widths[odd[0]]} inputs, "
            f"which is no multiple of {BLOCK}",
            hint="train on a GPU, or with quantization.bits: 8, or with train.method: lora",
        )


def language_linears(model: Any, base: Base) -> list[str]:
    """Return the full names in memory of the linear layers of a base's language tower, quantised or not.

    Layers with a class of their own, such as a router of experts, are not among them: bitsandbytes replaces
    torch's alone.
    """
    plain = [n for n, m in model.named_modules() if _is_linear(m) and type(m).__name__ in _REPLACED]
    return [name for name in plain if base.family.part_of(plain_name(name)) == "language"]


def quantization_config(base: Base, config: VLMTrainConfig, *, model: Any) -> Any | None:
    """Return the BitsAndBytesConfig that loading needs; None when it needs none or the base brings its own.

    `model` is the base on the meta device. Raises SpecError, TrainError when bitsandbytes is not there.
    """
    asked = config.quantization
    if asked is None or base.quantization is not None:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    chosen = set(language_linears(model, base))
    kept = [name for name, m in model.named_modules() if _is_linear(m) and name not in chosen]
    with translated("bitsandbytes cannot be used", hint=_EXTRA):
        if asked.bits == 8:
            return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=asked.type,
            bnb_4bit_compute_dtype=getattr(torch, asked.compute_dtype),
            bnb_4bit_use_double_quant=asked.double,
            llm_int8_skip_modules=kept,
        )


def _is_linear(module: Any) -> bool:
    import torch

    return isinstance(module, torch.nn.Linear)


def quantised_layers(model: Any) -> dict[str, Any]:
    """Return {full name in memory: layer} of every layer that holds a quantised weight, as it is."""
    owned = {name: dict(m.named_parameters(recurse=False)) for name, m in model.named_modules()}
    return {n: model.get_submodule(n) for n, held in owned.items() if is_quantised(held.get("weight"))}


def is_quantised(tensor: Any) -> bool:
    """Say whether a tensor is one of bitsandbytes' quantised parameters; they are known by their names."""
    return type(tensor).__name__ in ("Params4bit", "Int8Params")


def settle(model: Any, base: Base, config: VLMTrainConfig) -> None:
    """Check which layers are quantised, and keep bitsandbytes from changing them while the model runs.

    Its CPU kernel for inference would pack the weights anew in the first forward pass in eval mode, after
    which no training pass works; and each layer would cast its own bias as inputs come. Both are settled
    here, once. Raises FreezeMismatchError, SpecError for a part that is stored quantised and to be trained.
    """
    import torch

    layers = quantised_layers(model)
    _check_layers(model, base, config, layers)
    four = {n: layer for n, layer in layers.items() if type(layer.weight).__name__ == "Params4bit"}
    _require_blocks({n: layer.in_features for n, layer in four.items() if layer.weight.device.type == "cpu"})
    for layer in layers.values():
        layer.requires_grad_(requires_grad=False)
        if type(layer.weight).__name__ == "Int8Params":
            if layer.bias is not None:
                layer.register_forward_pre_hook(_like_bias)
            continue
        layer.support_avx512bf16_for_cpu = False
        layer.compute_dtype = getattr(torch, config.quantization.compute_dtype)  # type: ignore[union-attr]
        layer.compute_type_is_set = True
        if layer.bias is not None:
            layer.bias.data = layer.bias.data.to(layer.compute_dtype)


def _like_bias(layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cast what goes into an 8-bit layer to the type of its bias, else it would cast its bias."""
    return (args[0].to(layer.bias.dtype), *args[1:])


def _check_layers(model: Any, base: Base, config: VLMTrainConfig, layers: Mapping[str, Any]) -> None:
    """See that the language tower's linear layers are quantised and no other."""
    treatments = treatments_of(base.family, config)
    for name in layers:
        part = base.family.part_of(plain_name(name))
        if part is not None and treatments[part] == "full":
            raise SpecError(
                f"train.parts.{part}: full, but the base stores {plain_name(name)} quantised",
                hint=f"set train.parts.{part}: frozen or lora, or use the unquantised base",
            )
    odd = sorted(layers.keys() ^ set(language_linears(model, base)))
    if odd and base.quantization is None:
        fault = "is quantised" if odd[0] in layers else "is not quantised"
        raise FreezeMismatchError(
            f"{len(odd)} layers are not in the precision that was planned: {plain_name(odd[0])} {fault}",
            hint="nothing was trained; transformers keeps this model's layers otherwise, please report it",
        )


class State(NamedTuple):
    """One tensor without which a quantised weight cannot be read."""

    name: str
    """Full name in memory, as transformers saves it: `q_proj.weight.absmax`, `q_proj.SCB`."""
    weight: str
    """Full name of the weight."""
    tensor: Any


def state_tensors(model: Any) -> Iterator[State]:
    """Yield everything that the quantised weights of a model need beside their own bytes."""
    for name, layer in quantised_layers(model).items():
        weight = f"{name}.weight"
        if type(layer.weight).__name__ == "Int8Params":  # the first forward pass moves the scales
            scales = layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB
            yield State(f"{name}.SCB", weight, scales)
            continue
        for key, tensor in layer.weight.quant_state.as_dict(packed=True).items():
            yield State(f"{weight}.{key}", weight, tensor)


def same_quantised(live: Any, value: Any) -> bool:
    """Say whether a quantised parameter holds what bitsandbytes makes of `value`, a tensor of the base."""
    import torch
    from bitsandbytes import functional

    if type(live).__name__ == "Params4bit":
        packed, _ = functional.quantize_4bit(
            value.to(live.device, live.quant_state.dtype),
            blocksize=live.blocksize,
            compress_statistics=live.compress_statistics,
            quant_type=live.quant_type,
            quant_storage=live.quant_storage,
        )
        return torch.equal(packed, live.detach())
    # an Int8Params does not remember the type that its weights were loaded in
    loaded = (value.to(live.device, dtype) for dtype in (value.dtype, torch.bfloat16, torch.float16))
    rows = (functional.int8_vectorwise_quant(tensor.to(torch.float16))[0] for tensor in loaded)
    return any(torch.equal(row, live.detach()) for row in rows)

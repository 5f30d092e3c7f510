"""What a layer of a language tower is for, told from its name: attention, MLP, router, or something else.

The words `attention` and `mlp` of `train.lora_targets` mean these layers. The trainer expands them and an
auditor checks the result, so both read the names by the same rules.
"""

import itertools
import re
from typing import Literal

Kind = Literal["attention", "mlp", "router", "other"]
"""`router`: chooses the experts of a mixture, and is never adapted. `other`: gates of shared experts,
per-layer projections, and whatever no rule names; only `all-linear` reaches these."""

WORDS = ("all-linear", "attention", "mlp", "experts")
"""Words of `lora_targets` that stand for groups of layers."""

_ATTENTION = re.compile(r"(?:.*(?:attn|attention)|mixer|conv)", re.IGNORECASE)
"""Components that mix tokens: attention of any kind, Mamba's mixer, LFM's short convolution."""

_MLP = re.compile(r"mlp|ffn|feed_?forward|.*experts?|.*moe|dense_?relu_?dense", re.IGNORECASE)
_ROUTERS = ("router", "gate")
_PROJECTIONS = ("gate_proj", "up_proj", "down_proj", "gate_up_proj")
_BARE = {"fc1": "mlp", "fc2": "mlp", "intermediate": "mlp", "output": "mlp"}
"""Components that say `mlp` where no other says anything: OPT's and BART's layers, BERT's."""

_EXPERTS = re.compile(r".*experts?", re.IGNORECASE)
_SIGHT = re.compile(r"vision|visual|image", re.IGNORECASE)
_TEXT = re.compile(r"language|text", re.IGNORECASE)


def kind_of(layer: str) -> Kind:
    """Return what a layer of this name is for; the deepest component that says something decides."""
    *path, leaf = layer.split(".")
    if leaf in _ROUTERS or (path and path[-1] in _ROUTERS):
        return "router"
    if leaf.endswith("_expert_gate") or "indexer" in path:
        return "other"
    for component in reversed(path):
        if _MLP.fullmatch(component) or (component == "mixer" and leaf in _PROJECTIONS):
            return "mlp"
        if _ATTENTION.fullmatch(component):
            return "attention"
    numbered = any(component.isdigit() for component in path)
    return "mlp" if numbered and _BARE.keys() & {*path, leaf} else "other"


def stands_for(layer: str, *, word: str, leaves: list[str]) -> bool:
    """Return whether a word of `lora_targets`, meaning these leaf or full names, stands for a layer."""
    kind = kind_of(layer)
    if word in WORDS and word != "experts":
        return kind != "router" and word in ("all-linear", kind)
    return bool({layer, layer.rpartition(".")[2]} & {*leaves})


def holds_experts(parameter: str) -> bool:
    """Return whether the module that holds a parameter of this name is one of experts."""
    module = parameter.rpartition(".")[0].rpartition(".")[2]
    return _EXPERTS.fullmatch(module) is not None


def speaks_of_sight(parameter: str) -> bool:
    """Return whether a parameter's name puts it into a vision tower or a projector.

    The first component before a number that speaks of images or of text decides: a language tower can have
    experts or factors for images.
    """
    for component in itertools.takewhile(lambda part: not part.isdigit(), parameter.split(".")):
        if _SIGHT.search(component) or _TEXT.search(component):
            return _SIGHT.search(component) is not None
    return False

"""Check 11, first half: LoRA factors are on the locked layers, fit them, and are what the spec asks for.

The rules are those of specs/formats/modules.md 5. What they cannot show is that a word means all that it
could mean in the base's code: layers that are no parameter's owner do not appear in a manifest.
"""

from collections.abc import Iterable

from kolm.artifact import Artifact
from kolm.errors import VerificationError
from kolm.layers import WORDS, holds_experts, kind_of, stands_for
from kolm.modules import Parameter
from kolm.names import MAGNITUDE, adapted_by, factor_name, plain_name
from kolm.trainconfig import SEVEN_PROJECTIONS
from kolm.verify.case import require


def check_factors(artifact: Artifact) -> None:
    """Check names, shapes and reasons of everything that training added.

    Raises VerificationError (E_MODULES_ADAPTER).
    """
    lock = artifact.lock
    for names in (lock.targets, lock.target_parameters):
        _fits(names == sorted(set(names)), "the lock's targets are not sorted, each once")
    targets = [plain_name(name) for name in lock.targets]
    experts = [plain_name(name) for name in lock.target_parameters]
    parameters = {p.name: p for p in artifact.modules.parameters}
    factors = ("lora_A", "lora_B", *((MAGNITUDE,) if lock.config.get("method") == "dora" else ()))
    made = {factor_name(name, factor) for name in targets for factor in factors}
    made |= {factor_name(name, f"lora_{side}", expert=True) for name in experts for side in "AB"}
    added = {name: p for name, p in parameters.items() if p.before is None}
    _fits(added.keys() == made, "LoRA factors are not on the locked modules")
    _check_words(artifact, targets, experts)
    for name, factor in added.items():
        adapted, _ = adapted_by(name)
        weight = parameters.get(adapted if adapted in experts else f"{adapted}.weight")
        if weight is None:
            raise VerificationError(f"{name} adapts nothing that the base has", check="E_MODULES_ADAPTER")
        _fits(weight.part == factor.part, f"{name} is in another part than what it adapts")
        _check_shape(factor, weight, rank=lock.config.get("lora_r"))


def _check_words(artifact: Artifact, targets: list[str], experts: list[str]) -> None:
    """Every adapted layer of the language tower is there for a word of the spec, and every word is used."""
    lock, parts = artifact.lock, {p.name: p.part for p in artifact.modules.parameters}
    stands, config = lock.resolved.stands, lock.config.get("lora_targets")
    words = [str(word) for word in config] if isinstance(config, list) else []
    asked = words if lock.resolved.parts.get("language") == "lora" else []
    _fits([*stands] == sorted(set(asked)), "the lock's words are not those of lora_targets")
    language = [name for name in targets if parts[f"{name}.lora_A"] == "language"]
    inside = [n for n in experts if parts[factor_name(n, "lora_A", expert=True)] == "language"]
    astray = [name for name in experts if name not in inside or not holds_experts(name)]
    _fits(not astray, f"{', '.join(astray[:3])}: no experts of the language tower")
    # beside 3-D experts PEFT takes some leaves for theirs, so that layers of that name may go without
    mixture = any(len(p.shape) == 3 and holds_experts(p.name) for p in artifact.modules.parameters)
    reached: set[str] = set()
    for word, leaves in stands.items():
        covered = _covered(word, leaves, language, experts)
        meant = sorted({name if name in leaves else _leaf(name) for name in covered})
        _fits(bool(leaves) or words == [*SEVEN_PROJECTIONS], f"{word} stands for nothing")
        _fits(leaves == meant, f"{word} does not stand for {', '.join(leaves)}")
        others = {*leaves} - {word, plain_name(word)}
        own = not others or word in WORDS or (word in SEVEN_PROJECTIONS and not others & {*SEVEN_PROJECTIONS})
        _fits(own, f"{word} is no name for {', '.join(leaves)}")
        missed = _missed(artifact, word, leaves if mixture else [*leaves, word], language)
        _fits(not missed, f"{word} stands for {missed[:1]}, which has no factors")
        reached |= covered
    odd = [name for name in (*language, *experts) if name not in reached]
    _fits(not odd, f"{', '.join(odd[:3])} is not among the spec's lora_targets")


def _covered(word: str, leaves: list[str], layers: Iterable[str], experts: Iterable[str]) -> set[str]:
    """Return the adapted layers and experts that a word, meaning these names, stands for."""
    if word == "experts":
        return {*experts}
    found = {name for name in layers if stands_for(name, word=word, leaves=leaves)}
    return found | {name for name in experts if name in leaves}


def _missed(artifact: Artifact, word: str, leaves: list[str], targets: list[str]) -> list[str]:
    """List layers of the language tower that a word stands for by name and that have no factors."""
    weights = [p.name for p in artifact.modules.parameters if p.part == "language" and len(p.shape) == 2]
    layers = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    return [
        name
        for name in layers
        if _leaf(name) in leaves
        and kind_of(name) != "router"
        and stands_for(name, word=word, leaves=leaves)
        and name not in targets
    ]


def _check_shape(factor: Parameter, weight: Parameter, *, rank: object) -> None:
    """A factor has the locked rank and fits the weight beside it; packed weights have no shape to fit.

    A is (rank, inputs) and B (outputs, rank) of a weight (outputs, inputs); of a 3-D parameter, which either
    order of its last two sizes may describe, the rank counts once for each expert.
    """
    name, kind = adapted_by(factor.name)
    shape, expert = factor.shape, weight.name == name
    if kind == MAGNITUDE:
        wanted = weight.shape[:1] if _plain(weight) else shape[:1]
        _fits(shape == wanted, f"{factor.name} does not fit its layer")
        return
    count = weight.shape[0] if expert and len(weight.shape) == 3 else 1
    side = 0 if kind == "lora_A" else 1
    fits = len(shape) == 2 and isinstance(rank, int) and shape[side] == rank * count
    _fits(fits, f"{factor.name} has another rank")
    if not _plain(weight):
        return
    sizes = weight.shape[-2:] if expert else [weight.shape[1 - side]]
    _fits(shape[1 - side] in sizes, f"{factor.name} does not fit its layer")


def _plain(weight: Parameter) -> bool:
    """Whether a weight's shape is that of its layer: those of 4 bits are packed, two into a byte."""
    return len(weight.shape) in (2, 3) and weight.dtype != "uint8"


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _fits(holds: bool, message: str) -> None:
    require(holds, message, check="E_MODULES_ADAPTER")

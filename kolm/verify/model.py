"""Checks 10 to 12: what was frozen and trained, and that the adapter is what training left."""

from kolm.errors import VerificationError
from kolm.globs import matches
from kolm.modules import plain_name
from kolm.predicates import VLMTrainBlock
from kolm.receipt import module_summary
from kolm.tensors import TensorInfo, read_tensors
from kolm.verify.case import Case, Finding, require
from kolm.verify.peftconfig import check_config


def modules(case: Case) -> Finding:
    """(10) The module manifest partitions the parameters, and the receipt's short lists stand for it."""
    artifact, compiled = case.artifact, case.compile
    try:
        artifact.modules.check()
    except VerificationError as err:
        if err.check != "E_FROZEN_CHANGED":  # check 12 says so
            raise
    names = [parameter.name for parameter in artifact.modules.parameters]
    patterns = [*artifact.modules.frozen_modules, *artifact.modules.trainable_modules]
    idle = [pattern for pattern in patterns if not any(matches(pattern, name) for name in names)]
    _same(not idle, f"{', '.join(idle[:3])} stands for no parameter")
    summary = compiled.modules.model_dump()
    for member, value in module_summary(artifact).items():
        _same(summary[member] == value, f"the receipt's modules.{member} is not the module manifest's")
    block = compiled.train
    lists = (block.frozen_modules, block.trainable_modules)
    _same(
        lists == (artifact.modules.frozen_modules, artifact.modules.trainable_modules),
        "the training block lists other modules",
    )
    _check_treatments(case)
    counts = compiled.modules.counts
    return Finding(f"{counts.frozen} frozen and {counts.trainable} trained parameters")


def _check_treatments(case: Case) -> None:
    """Lock and receipt say of each part what the manifest shows, and call the model what it is."""
    manifest, block = case.artifact.modules, case.compile.train
    _same(manifest.family == case.artifact.manifest.family, "modules.json is of another family")
    _same(
        isinstance(block, VLMTrainBlock) is manifest.sees_images,
        "the training block is not that of a model with, or without, a vision tower or projector",
    )
    parts, chosen = manifest.treatments(), case.artifact.lock.resolved
    _same(
        (chosen.parts, chosen.servable_as) == (parts, manifest.servable_as), "the lock treats parts otherwise"
    )
    if isinstance(block, VLMTrainBlock):
        _same(block.parts == parts, "the receipt's parts are not what was trained")
        _same(block.servable_as == manifest.servable_as, f"it can be served as {manifest.servable_as}")
        frozen = parts.get("vision", "frozen") == "frozen"
        _same(block.freeze_vision is frozen, f"freeze_vision is said to be {not frozen}, and is not")


def _same(holds: bool, message: str) -> None:
    require(holds, message, check="E_MODULES_MISMATCH")


def adapter(case: Case) -> Finding:
    """(11) The adapter holds exactly the trained parameters, with their digests after training."""
    name = "adapter/adapter_model.safetensors"
    trained = {p.name: p for p in case.artifact.modules.parameters if p.state == "trainable"}
    with case.artifact.container.open_member(name) as handle:
        tensors = read_tensors(handle)
    found: dict[str, TensorInfo] = {}
    for key, tensor in tensors.items():
        plain = plain_name(key)
        _fits(plain in trained, f"the adapter has {key}, which was not trained")
        _fits(plain not in found, f"the adapter has {plain} twice")
        found[plain] = tensor
    missing = sorted(trained.keys() - found.keys())
    _fits(not missing, f"the adapter lacks {', '.join(missing[:3])}")
    for plain, tensor in found.items():
        parameter = trained[plain]
        form = (parameter.dtype, tuple(parameter.shape), parameter.after)
        _fits((tensor.dtype, tensor.shape, tensor.sha256) == form, f"{plain} is not what training left")
    check_config(case.artifact)
    vision = sum(parameter.part == "vision" for parameter in trained.values())
    return Finding(f"{len(found)} tensors, {vision} of them in the vision tower")


def _fits(holds: bool, message: str) -> None:
    require(holds, message, check="E_MODULES_ADAPTER")


def frozen(case: Case) -> Finding:
    """(12) Every frozen parameter and every buffer has the same digest before and after."""
    changed = case.artifact.modules.changed()
    require(
        not changed,
        f"{len(changed)} frozen parameters changed, first {', '.join(changed[:3])}",
        check="E_FROZEN_CHANGED",
    )
    return Finding(f"{len(case.artifact.modules.frozen)} frozen parameters unchanged", "signed only")

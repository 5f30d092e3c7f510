"""Checks 10 to 12: what was frozen and trained, and that the adapter is what training left."""

from kolm.artifact import ADAPTER, WEIGHTS
from kolm.errors import VerificationError
from kolm.globs import matches
from kolm.layers import speaks_of_sight
from kolm.names import plain_names
from kolm.predicates import VLMTrainBlock
from kolm.receipt import module_summary
from kolm.tensors import TensorInfo, read_tensors
from kolm.verify.case import Case, Finding, require
from kolm.verify.factors import check_factors
from kolm.verify.peftconfig import check_config

_PACKED = {4: "uint8", 8: "int8"}
"""Type of the bytes of a quantised weight, by its bits."""


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
    trained = f"{counts.frozen} frozen and {counts.trainable} trained parameters"
    return Finding(f"{trained}; which part each belongs to is the signer's word")


def _check_treatments(case: Case) -> None:
    """Lock and receipt say of each part what the manifest shows, and call the model what it is."""
    manifest, block = case.artifact.modules, case.compile.train
    _check_sight(case)
    _check_precision(case)
    _same(manifest.family == case.artifact.manifest.family, "modules.json is of another family")
    _same(
        isinstance(block, VLMTrainBlock) is manifest.sees_images,
        "the training block is not that of a model with, or without, a vision tower or projector",
    )
    parts, chosen = manifest.treatments(), case.artifact.lock.resolved
    _same(
        (chosen.parts, chosen.servable_as) == (parts, manifest.servable_as), "the lock treats parts otherwise"
    )
    _same(block.parts == parts, "the receipt's parts are not what was trained")
    _same(block.servable_as == manifest.servable_as, f"it can be served as {manifest.servable_as}")
    _same(block.left_frozen == manifest.left_frozen, "other parameters of a trained part were left frozen")
    again = block.reopened
    _same(
        again is None or again.tensors == len(manifest.trainable),
        "another number of tensors was trained than was loaded again",
    )
    if isinstance(block, VLMTrainBlock):
        frozen = manifest.vision_frozen
        _same(block.freeze_vision is frozen, f"freeze_vision is said to be {not frozen}, and is not")


def _check_sight(case: Case) -> None:
    """A model with an image processor looks at images, and one that is shown any is not text-only.

    Nothing that is named after images is a language tower's, whatever else the parts are said to be.
    """
    sees, locked = case.artifact.modules.sees_images, case.artifact.lock.processor
    astray = [
        p.name for p in case.artifact.modules.parameters if p.part == "language" and speaks_of_sight(p.name)
    ]
    _same(not astray, f"{', '.join(astray[:3])} is in the language tower, and is named otherwise")
    settings = (locked.image_processor is not None, locked.backend is not None)
    _same(
        settings == (sees, sees) and (sees or not locked.size),
        "the lock's image processor does not go with a model that does, or does not, see images",
    )
    rows, held = case.train_set.rows, case.train_set.validation
    shown = any(row.images for row in case.pack.rows) or any(row.images for row in (*rows, *held))
    _same(sees or not shown, "a model without a vision tower or projector is trained or asked about pictures")


def _check_precision(case: Case) -> None:
    """Weights have the lock's type, or are quantised if it says so, in the bits that it says."""
    manifest, loaded = case.artifact.modules, case.artifact.lock.resolved.dtype
    _same(manifest.dtype == loaded, f"the lock's weights are {loaded}, most of them are {manifest.dtype}")
    asked = case.artifact.lock.config.get("quantization")
    bits = asked.get("bits") if isinstance(asked, dict) else None
    wanted = {dtype for width, dtype in _PACKED.items() if width == bits}
    seen = {parameter.dtype for parameter in manifest.parameters} & set(_PACKED.values())
    _same(seen == wanted, "the lock quantises weights otherwise")
    names = [buffer.name for buffer in manifest.buffers]
    formats = {name.rpartition("__")[2] for name in names if ".quant_state.bitsandbytes__" in name}
    nested = any(name.endswith(".nested_absmax") for name in names)
    four = asked if isinstance(asked, dict) and bits == 4 else {"double": False}
    said = ([four["type"]] if "type" in four else [], four.get("double"))
    _same(([*formats], nested) == said, "the lock quantises in another format")


def _same(holds: bool, message: str) -> None:
    require(holds, message, check="E_MODULES_MISMATCH")


def adapter(case: Case) -> Finding:
    """(11) Adapter or weights hold exactly the trained parameters, with their digests after training."""
    artifact, manifest = case.artifact, case.artifact.modules
    trained = {p.name: p for p in manifest.parameters if p.state == "trainable"}
    weights = bool(artifact.members("weights"))
    with artifact.container.open_member(WEIGHTS if weights else ADAPTER[1]) as handle:
        tensors = read_tensors(handle)
    names = (
        {key: key for key in tensors} if weights else plain_names(tensors, experts=manifest.expert_parameters)
    )
    what = "the weights" if weights else "the adapter"
    found: dict[str, TensorInfo] = {}
    for key, tensor in tensors.items():
        plain = names[key]
        _fits(plain in trained, f"{what}: {key} was not trained")
        _fits(plain not in found, f"{what}: {plain} is there twice")
        found[plain] = tensor
    missing = sorted(trained.keys() - found.keys())
    _fits(not missing, f"{what}: {', '.join(missing[:3])} is missing")
    for plain, tensor in found.items():
        parameter = trained[plain]
        form = (parameter.dtype, tuple(parameter.shape), parameter.after)
        _fits((tensor.dtype, tensor.shape, tensor.sha256) == form, f"{plain} is not what training left")
    check_factors(artifact)
    if weights:
        _fits(not any(p.before is None for p in trained.values()), "weights hold what training added")
    else:
        check_config(artifact)
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

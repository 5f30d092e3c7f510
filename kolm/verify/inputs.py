"""Checks 9 and 13: the spec and its lock, and the base."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kolm.canonical import canonical_json
from kolm.cid import sha256_hex_of_file
from kolm.files import read_bytes
from kolm.lock import LockedChoices
from kolm.modules import Buffer, ModuleManifest, Parameter
from kolm.receipt import data_counts
from kolm.spec import VLMTrainConfig
from kolm.tensors import read_header, read_tensors
from kolm.verify.case import Case, Finding, require

_SAME_IN_RECEIPT = (
    "method",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_targets",
    "bias",
    "freeze_vision",
    "learning_rate",
    "lr_scheduler",
    "optim",
    "max_seq_length",
    "num_train_epochs",
    "seed",
)
"""Settings that the training block repeats from the lock."""


def _resolves(asked: str | None, commit: str | None) -> bool:
    """Say whether a branch, tag or commit of a hub model can have been this commit."""
    if asked is None or asked == commit:
        return True
    return commit is not None and not re.fullmatch("[0-9a-f]{40}", asked)


def spec(case: Case) -> Finding:
    """(9) The lock resolves this spec, and the receipt repeats what the lock says."""
    manifest, lock = case.artifact.manifest, case.artifact.lock
    asked = case.spec
    _locked(lock.base == manifest.base, "base")
    _locked((asked.name, asked.task) == (manifest.name, manifest.task), "name and task")
    _locked(asked.base.model == manifest.base.model, "base.model")
    _locked(_resolves(asked.base.revision, manifest.base.revision), "base.revision")
    settings = asked.train.model_dump(mode="json")
    odd = _differences(settings, lock.config)
    _locked(not odd, f"train.{', train.'.join(odd)}")
    _locked(asked.train.seed == lock.seed.spec, "train.seed")
    judged = asked.eval.model_dump(include={"min_accuracy", "gate", "budget", "seed"})
    _locked(judged == lock.eval.model_dump(), "eval")
    decoding = (lock.generation.max_new_tokens, lock.generation.greedy)
    _locked(decoding == (asked.generation.max_new_tokens, True), "generation")
    _locked(asked.generation.batch in ("auto", lock.generation.batch), "generation.batch")
    pixels = (lock.processor.min_pixels, lock.processor.max_pixels)
    _locked(pixels == (asked.processor.min_pixels, asked.processor.max_pixels), "processor")
    metrics = {name: asked.eval.metric.get(name, part.metric) for name, part in case.pack.slices.items()}
    _locked(metrics == lock.metrics, "eval.metric")
    held_out = asked.data.validation is not None or asked.data.split is not None
    _locked(held_out is bool(case.train_set.validation), "data.validation")
    _check_choices(asked.train, lock.resolved)
    _check_receipt(case)
    return Finding(f"{len(settings)} training settings and the gate's thresholds")


def _check_choices(asked: VLMTrainConfig, chosen: LockedChoices) -> None:
    """Where the spec left nothing open, nothing else was chosen."""
    _locked(asked.device.partition(":")[0] in ("auto", chosen.device), "train.device")
    _locked(asked.dtype in ("auto", chosen.dtype), "train.dtype")
    _locked(asked.keep in (None, chosen.keep), "train.keep")
    head = "full" if asked.parts.language == "full" else "frozen"
    wanted = {**asked.parts.model_dump(), "head": head}
    for part, treatment in chosen.parts.items():
        meant = "full" if wanted[part] == "warmup" else wanted[part]
        _locked(meant == treatment or (meant == "auto" and treatment != "lora"), f"train.parts.{part}")


def _check_receipt(case: Case) -> None:
    """The receipt repeats what the lock says, and counts what the training set holds."""
    compiled, lock = case.compile, case.artifact.lock
    block = compiled.train.model_dump()
    repeated = {key: block[key] for key in _SAME_IN_RECEIPT if key in block}
    odd = _differences(repeated, {key: lock.config[key] for key in repeated})
    _locked(not odd, f"the receipt's {', '.join(odd)}")
    seen = compiled.environment
    _locked(seen.get("versions") == lock.versions, "the receipt's versions")
    _locked((seen.get("device") == "cpu") is (lock.resolved.device == "cpu"), "the receipt's device")
    _locked(seen.get("image_backend") == lock.processor.backend, "the receipt's image_backend")
    if asked := compiled.evaluation:
        _locked(asked.batch == lock.generation.batch, "the receipt's evaluation.batch")
        compared = range(1, 2 * len(compiled.timings.rows) + 1) if asked.batch > 1 else (0,)
        _locked(asked.compared in compared, "the receipt's evaluation.compared")
    counts = compiled.data.model_dump(exclude={"text_overlaps", "near_duplicates"})
    _locked(counts == data_counts(case.artifact), "the receipt's data counts")
    used, dropped = compiled.train.train_examples, compiled.train.dropped_examples
    _locked(used >= 1 and used + dropped == counts["train"], "the receipt's train_examples")
    _locked(not dropped or lock.config["on_overlong"] == "drop", "the receipt's dropped_examples")
    _locked(compiled.train.truncated_examples <= used, "the receipt's truncated_examples")


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Name the keys under which two JSON objects differ; 1 is 1.0, but not `true`."""
    same = {
        key for key in one.keys() & other.keys() if canonical_json(one[key]) == canonical_json(other[key])
    }
    return sorted((one.keys() | other.keys()) - same)


def _locked(holds: bool, what: str) -> None:
    require(holds, f"spec, lock and receipt disagree about {what}", check="E_SPEC_MISMATCH")


_VERBATIM = ("identical", "tied")
"""Origins that say that these very bytes are in the base's file, under this key."""


def base(case: Case) -> Finding:
    """(13) The base's files are the ones named, and what is `identical` or `tied` is in them."""
    manifest, listed = case.artifact.manifest, case.artifact.modules
    paths = {file.path for file in manifest.base.files}
    for path in paths:
        safe = PurePosixPath(path)
        _is_base(not safe.is_absolute() and ".." not in safe.parts, f"{path} leaves the base's directory")
    tensors: list[Parameter | Buffer] = [*listed.parameters, *listed.buffers]
    by_file: dict[str, list[Parameter | Buffer]] = defaultdict(list)
    for tensor in tensors:
        if tensor.base.file is not None:
            _is_base(
                tensor.base.file in paths,
                f"{tensor.name} comes from {tensor.base.file}, not a file of the base",
            )
        if tensor.base.relation in _VERBATIM:
            by_file[tensor.base.file or ""].append(tensor)
    count = sum(len(group) for group in by_file.values())
    if case.base_dir is None:
        return Finding(
            f"no --base given, {count} identical parameters not compared", "signed only", done=False
        )
    for file in manifest.base.files:
        held = case.base_dir / file.path
        same = _digest(held) == file.sha256
        _is_base(same, f"{file.path} is not the file that was compiled from")
        _is_base(held.stat().st_size == file.bytes, f"{file.path} has not {file.bytes} bytes")
    _check_config(case.base_dir, listed)
    for path, group in by_file.items():
        _check_identical(case.base_dir / path, group)
    unused = _unused(case.base_dir, case)
    believed = sum(t.base.relation not in _VERBATIM and t.before is not None for t in listed.parameters)
    other = f" and {believed} others not compared" if believed else ""
    return Finding(
        f"{len(paths)} files, {count} identical parameters{other}, {unused} tensors of the base unused"
    )


def _check_config(directory: Path, listed: ModuleManifest) -> None:
    """The base is of the type that the manifest names, and text-only if that lists no part that sees.

    A base whose config.json describes a vision tower is not text-only, whatever the manifest says.
    """
    try:
        config = json.loads(read_bytes(directory / "config.json", what="the base's config"))
    except (ValueError, RecursionError):
        config = None
    _is_base(isinstance(config, dict), "its config.json is not a JSON object")
    kind = str(config.get("model_type"))
    _is_base(kind == listed.model_type, f"config.json says {kind}, modules.json {listed.model_type}")
    towers = [] if listed.sees_images else [k for k in _keys(config) if "vision" in k or "visual" in k]
    _is_base(not towers, f"config.json has {', '.join(towers)}, modules.json no such part")


def _keys(value: Any) -> Iterator[str]:
    """Yield the keys of objects inside objects: omni models have their towers in a `thinker_config`."""
    inside = [value]
    while inside:
        if isinstance(found := inside.pop(), dict):
            yield from found
            inside.extend(found.values())


def _unused(directory: Path, case: Case) -> int:
    """Count the base's tensors that no parameter names: a manifest cannot hide one without it showing."""
    modules = case.artifact.modules
    named = {(t.base.file, t.base.key) for t in (*modules.parameters, *modules.buffers)}
    weights = [f.path for f in case.artifact.manifest.base.files if f.path.endswith(".safetensors")]
    return sum((path, key) not in named for path in weights for key in read_header(directory / path))


def _digest(path: Path) -> str | None:
    return sha256_hex_of_file(path) if path.is_file() else None


def _check_identical(path: Path, group: list[Parameter | Buffer]) -> None:
    held = read_tensors(path) if path.is_file() else {}
    for tensor in group:
        found = held.get(tensor.base.key or "")
        same = found is not None and (found.sha256, found.dtype, list(found.shape)) == (
            tensor.before,
            tensor.dtype,
            tensor.shape,
        )
        _is_base(same, f"{tensor.name} is not the base's {tensor.base.key}")


def _is_base(holds: bool, message: str) -> None:
    require(
        holds, message, check="E_BASE_MISMATCH", hint="Give --base the directory of the pinned base model."
    )

"""Which files of a checkpoint mean something, and what the small ones say: weights, licence, code.

The same rules choose from a folder's names and from the listing of a hub repository, so that a base
is the same files wherever it lies.
"""

import json
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from kolm.artifact import PROCESSOR_FILES
from kolm.errors import KolmError, SpecError
from kolm.yamldoc import read_yaml

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CARD = "README.md"
ADAPTER = "adapter_config.json"
_CONFIGS = ("config.json", "generation_config.json")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_AUTO_MAPS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
)


def small_files(names: Iterable[str]) -> list[str]:
    """List the files that say what a checkpoint is: configs, processor, the index of its weights."""
    return sorted({*_CONFIGS, *PROCESSOR_FILES, INDEX} & set(names))


def code_files(names: Iterable[str]) -> list[str]:
    """List the Python files, in folders too: transformers may import any of them."""
    return sorted(name for name in names if name.endswith(".py"))


def files_in(directory: Path, *, code: bool) -> list[str]:
    """List the names of a folder's files; with `code` also the Python files of the folders in it."""
    names = {path.name for path in directory.iterdir() if path.is_file()}
    if code:
        below = (path.relative_to(directory) for path in directory.rglob("*.py") if path.is_file())
        names |= {path.as_posix() for path in below if not any(p.startswith(".") for p in path.parts)}
    return sorted(names)


def weight_files(names: Collection[str], *, directory: Path, what: str) -> list[str]:
    """List the weight files that transformers reads of a checkpoint with these names, and no other.

    It takes `model.safetensors`, else the shards that the index names; the index lies in `directory`.
    `what` names the checkpoint in messages. Raises SpecError.
    """
    if read_config(directory).get("transformers_weights"):
        raise SpecError(
            f"{what}: config.json names its weight files itself (transformers_weights)",
            hint=f"save it again so that they are called {WEIGHTS}, or {INDEX} names them",
        )
    if WEIGHTS in names:
        return [WEIGHTS]
    if INDEX in names:
        shards = _shards(directory / INDEX, what=what)
        missing = [name for name in shards if name not in names]
        if missing:
            raise SpecError(
                f"{what} lacks {len(missing)} of the {len(shards)} weight files its index names, "
                f"such as {missing[0]}",
                hint="use a complete checkpoint",
            )
        return shards
    raise _no_weights(names, what=what)


def _no_weights(names: Collection[str], *, what: str) -> SpecError:
    other = sorted(name for name in names if name.endswith(".safetensors"))
    pickled = sorted(name for name in names if PurePosixPath(name).suffix in _PICKLED)
    if other:
        return SpecError(
            f"{what} holds {other[0]}, but neither {WEIGHTS} nor {INDEX}: transformers would not read it",
            hint="use the checkpoint in the layout that transformers saves",
        )
    if pickled:
        return SpecError(
            f"{what} holds only pickled weights, such as {pickled[0]}; unpickling runs code",
            hint="kolm reads safetensors only; convert the checkpoint, or name a revision that has them",
        )
    return SpecError(
        f"{what} holds no safetensors weights",
        hint="kolm reads safetensors only; convert the checkpoint first",
    )


def _shards(index: Path, *, what: str) -> list[str]:
    """Read the file names of an index. Raises SpecError."""
    try:
        named = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise SpecError(f"{what}: {INDEX} cannot be read", hint="use a complete checkpoint") from err
    odd = [name for name in named if not name.endswith(".safetensors") or "/" in name or "\\" in name]
    if odd or not named:
        raise SpecError(
            f"{what}: {INDEX} names {sorted(odd)[0]!r}" if odd else f"{what}: {INDEX} names no file",
            hint="the weights are safetensors files beside the index",
        )
    return sorted(named)


def read_config(directory: Path) -> dict[str, Any]:
    """Read config.json. Raises SpecError."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as err:
        raise SpecError(
            f"{directory} is not a model checkpoint: config.json is missing or cannot be read",
            hint="base.model is a folder with config.json and safetensors, or a hub id",
        ) from err
    return config


def read_quantization(directory: Path) -> dict[str, Any] | None:
    """Return how config.json says the weights are stored, of the model or of its language tower.

    None when they are not quantised. Raises SpecError.
    """
    config = read_config(directory)
    parts = [config, config.get("text_config"), config.get("language_config"), config.get("llm_config")]
    for part in parts:
        found = part.get("quantization_config") if isinstance(part, dict) else None
        if isinstance(found, dict):
            return found
    return None


def read_licence(directory: Path) -> str | None:
    """Return `license:` of the model card's front matter; None when the card does not say.

    A licence of its own is `other: NAME (LINK)`, as far as the card has them. The keys are the hub's:
    huggingface.co/docs/hub/model-cards.
    """
    card = directory / CARD
    if not card.is_file():
        return None
    lines = card.read_text(encoding="utf-8-sig", errors="replace").lstrip().splitlines()
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        return None
    try:
        front = read_yaml("\n".join(lines[1 : ends[1]]).encode(), name=CARD).value
    except KolmError:  # the card is for people; one that is not YAML states no licence
        return None
    said = front.get("license")
    names = [str(name) for name in (said if isinstance(said, list) else [said]) if name]
    own = front.get("license_name")
    link = front.get("license_link")
    if names == ["other"]:
        return "other" + (f": {own}" if own else "") + (f" ({link})" if link else "")
    return ", ".join(names) or None


def foreign_code(directory: Path) -> list[str]:
    """List the classes that a checkpoint's configs take from another repository: `org/name--module.Class`.

    transformers would run that code at whatever commit its cache or the hub has.
    """
    found = []
    for name in _AUTO_MAPS:
        path = directory / name
        if path.is_file():
            try:
                found += _foreign_in(json.loads(path.read_text(encoding="utf-8")))
            except ValueError:  # whoever loads it says what is wrong with it
                continue
    return sorted(set(found))


def _foreign_in(value: Any) -> list[str]:
    """Look through `auto_map` at any depth: processors keep those of their parts inside."""
    if isinstance(value, list):
        return [found for item in value for found in _foreign_in(item)]
    if not isinstance(value, dict):
        return []
    mapped = value.get("auto_map")
    classes = list(mapped.values()) if isinstance(mapped, dict) else [mapped]
    flat = [c for entry in classes for c in (entry if isinstance(entry, list) else [entry])]
    here = [c for c in flat if isinstance(c, str) and "--" in c]
    return here + [found for key, item in value.items() if key != "auto_map" for found in _foreign_in(item)]

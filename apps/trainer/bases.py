"""The base model on this disk: which files it has, what they weigh, and where it was found."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.trainer.families import Family, family_of, read_model_type
from apps.trainer.foreign import translated
from kolm.cid import sha256_hex, sha256_hex_of_file
from kolm.errors import SpecError, TrainError
from kolm.files import home, make_folder, write_atomic

PROCESSOR_FILES = (
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
"""Files of a checkpoint that turn images and text into tensors; they travel in the artifact."""

WEIGHTS = "*.safetensors"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Base:
    """A base model that is on this disk."""

    model: str
    """As the spec names it: a folder relative to the spec, or a hub id."""
    revision: str | None
    """Commit of the hub repository; null for a folder."""
    licence: str | None
    directory: Path
    files: tuple[dict[str, Any], ...]
    """`{path, sha256, bytes}` of every file that loading may read, sorted by path."""
    family: Family
    model_type: str
    """`model_type` of config.json."""
    trusted: bool = False
    """Whether the spec allows Python code that comes with the model to run."""

    @property
    def identity(self) -> dict[str, Any]:
        """What an artifact's manifest says of its base."""
        return {
            "model": self.model,
            "revision": self.revision,
            "licence": self.licence,
            "files": [dict(entry) for entry in self.files],
        }


def find_base(source: Path | str, *, model: str, revision: str | None = None) -> Base:
    """Return a base: a folder, or a hub id fetched into the cache. `model` is how the spec names it.

    Raises SpecError for a revision that does not name one state of the base, UnknownFamilyError before
    anything is fetched, TrainError when a hub repository cannot be had.
    """
    if isinstance(source, Path) and revision:
        raise SpecError("base.revision is for hub models; a folder is named by its files", hint="remove it")
    if revision and not _COMMIT.fullmatch(revision):
        raise SpecError(f"base.revision {revision!r} is not a commit", hint="give all 40 digits, in quotes")
    if isinstance(source, Path):
        return describe(source, model=model, revision=None)
    family_of(source)
    directory = _snapshot(source, revision)
    return describe(directory, model=model, revision=directory.name)


def describe(directory: Path, *, model: str, revision: str | None) -> Base:
    """Read what a checkpoint folder holds and hash every file that loading may read."""
    family = family_of(directory)
    wanted = {"config.json", "generation_config.json", *PROCESSOR_FILES}
    paths = [
        p for p in directory.iterdir() if p.name in wanted or p.match(WEIGHTS) or p.match("*.index.json")
    ]
    if not any(p.match(WEIGHTS) for p in paths):
        raise SpecError(
            f"{directory} holds no safetensors weights",
            hint="kolm reads safetensors only; convert the checkpoint first",
        )
    files = [
        {"path": p.name, "sha256": sha256_hex_of_file(p), "bytes": p.stat().st_size}
        for p in sorted(paths, key=lambda p: p.name)
    ]
    return Base(
        model=model,
        revision=revision,
        licence=_licence(directory),
        directory=directory,
        files=tuple(files),
        family=family,
        model_type=read_model_type(directory),
    )


def _licence(directory: Path) -> str | None:
    """Read `license:` from the model card's YAML front matter; None when there is none."""
    card = directory / "README.md"
    if not card.is_file():
        return None
    front = card.read_text(encoding="utf-8", errors="replace").split("---")
    lines = front[1].splitlines() if len(front) > 2 else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("license:")]
    return found[0] if found else None


def _snapshot(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [
        "config.json",
        "generation_config.json",
        "README.md",
        WEIGHTS,
        "*.index.json",
        *PROCESSOR_FILES,
    ]
    hint = "base.model may be a local folder; a gated model needs HF_TOKEN"
    with translated(f"base model {model} could not be fetched", hint=hint):
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))


def remember_base(base: Base) -> None:
    """Note where this base lies, so that `kolm run` finds it by its file digests."""
    note = _note(base.identity)
    make_folder(note.parent)
    write_atomic(note, str(base.directory.resolve()).encode())


def recall_base(identity: dict[str, Any], *, directory: Path | None = None) -> Base:
    """Return the base an artifact was compiled from, checked file by file.

    `directory` is where to look; without it, the folder noted at compile time, then the hub.
    Raises TrainError when it is not there or its files differ.
    """
    note = _note(identity)
    if directory is None and note.is_file():
        directory = Path(note.read_text(encoding="utf-8"))
    if directory is not None and directory.is_dir():
        base = describe(directory, model=identity["model"], revision=identity["revision"])
    elif identity["revision"]:
        base = find_base(identity["model"], model=identity["model"], revision=identity["revision"])
    else:
        raise TrainError(
            f"the base model {identity['model']!r} is not on this machine",
            hint="name its folder with --base DIR",
        )
    changed = [a["path"] for a, b in zip(identity["files"], base.files, strict=False) if a != b]
    if changed or len(base.files) != len(identity["files"]):
        raise TrainError(
            f"{base.directory} is not the base this artifact was compiled from"
            + (f": {changed[0]} differs" if changed else ""),
            hint="name the right folder with --base DIR",
        )
    return base


def _note(identity: dict[str, Any]) -> Path:
    digests = "".join(entry["sha256"] for entry in identity["files"])
    return home() / "bases" / sha256_hex(digests.encode())

"""The base model on this disk: which files it has, what they weigh, and where it was found."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apps.trainer.checkpoint import (
    ADAPTER,
    CARD,
    PROCESSOR_FILES,
    code_files,
    files_in,
    foreign_code,
    read_licence,
    read_quantization,
    small_files,
    weight_files,
)
from apps.trainer.families import Family, family_of, read_model_type
from apps.trainer.hub import COMMIT, open_snapshot
from apps.trainer.refusals import unanswered
from kolm.cid import sha256_hex, sha256_hex_of_file
from kolm.errors import SpecError, TrainError, UnknownFamilyError
from kolm.files import home, make_folder, write_atomic

__all__ = ["PROCESSOR_FILES", "Base", "describe", "find_base", "noted_folder", "recall_base", "remember_base"]


@dataclass(frozen=True)
class Base:
    """A base model that is on this disk, or as much of it as a plan needs."""

    model: str
    """As the spec names it: a folder relative to the spec, or a hub id."""
    revision: str | None
    """Commit of the hub repository; null for a folder."""
    licence: str | None
    directory: Path
    files: tuple[dict[str, Any], ...]
    """`{path, sha256, bytes}` of every file that loading may read, sorted by path; without the weights
    when only a plan was asked for."""
    family: Family
    model_type: str
    """`model_type` of config.json."""
    trusted: bool = False
    """Whether Python code that comes with the model runs; every such file is in `files`."""
    weights: tuple[str, ...] = ()
    """Names of the files that hold its weights; empty for a folder that has only a config."""
    quantization: dict[str, Any] | None = None
    """`quantization_config` of config.json, when the weights are stored quantised."""
    asked: str | None = None
    """What `base.revision` says, where that is not a commit: a branch, a tag, or `main` for want of one."""

    @property
    def has_weights(self) -> bool:
        """Whether its weight files are in `directory`; a plan can do without them."""
        return bool(self.weights) and all((self.directory / name).is_file() for name in self.weights)

    @property
    def identity(self) -> dict[str, Any]:
        """What an artifact's manifest says of its base."""
        return {
            "model": self.model,
            "revision": self.revision,
            "licence": self.licence,
            "files": [dict(entry) for entry in self.files],
        }

    @property
    def note(self) -> str | None:
        """What to know before compiling the same spec again; None when it will be the same base."""
        if self.asked is None:
            return None
        return (
            f"base.revision `{self.asked}` is {self.revision} today; "
            "give that commit to compile from the same base again"
        )


def find_base(
    source: Path | str,
    *,
    model: str,
    revision: str | None = None,
    trust: bool = False,
    weights: bool = True,
) -> Base:
    """Return a base: a folder, or a hub id fetched into the cache. `model` is how the spec names it.

    `trust` lets Python code that comes with the model run later; nothing runs here. Without `weights`
    no weight file is fetched, hashed or needed: enough to plan. Raises SpecError for a revision that
    does not name one state of the base and for code that may not run, UnknownFamilyError,
    TrainError when a hub repository cannot be had, StorageError.
    """
    if isinstance(source, str):
        return _from_hub(source, model=model, revision=revision, trust=trust, weights=weights)
    if revision:
        raise SpecError("base.revision is for hub models; a folder is named by its files", hint="remove it")
    return describe(source, model=model, revision=None, trust=trust, weights=weights)


def _from_hub(source: str, *, model: str, revision: str | None, trust: bool, weights: bool) -> Base:
    """Fetch in the order of what it costs: listing, small files, code that is trusted, weights."""
    pinned = bool(revision and COMMIT.fullmatch(revision))
    if trust and not pinned:
        raise SpecError(
            f"base.trust_remote_code runs code of {source}, and base.revision "
            + (f"{revision!r} is not a commit" if revision else "is not given"),
            hint="read the code at one commit and give base.revision all 40 digits of it, in quotes",
        )
    try:
        snapshot = open_snapshot(source, revision)
    except TrainError as err:
        if unanswered(err):  # the id alone may say enough
            _check_code(family_of(source), source, trust=trust, weights=weights)
        raise
    names = snapshot.listed.keys()
    if "config.json" not in names:
        whole = (
            "the whole model that this adapter belongs to" if ADAPTER in names else "a model of transformers"
        )
        raise SpecError(f"{source} holds no config.json", hint=f"name {whole}")
    snapshot.fetch([*small_files(names), *({CARD} & names)])
    held = weight_files(names, directory=snapshot.directory, what=source)
    _check_code(family_of(snapshot.directory), source, trust=trust, weights=weights)
    if trust:
        _check_origin_of_code(snapshot.directory)
        snapshot.fetch(code_files(names))
    snapshot.fetch(held if weights else [])
    base = describe(snapshot.directory, model=model, revision=snapshot.commit, trust=trust, weights=weights)
    snapshot.check(base.files)
    return replace(base, weights=tuple(held), asked=None if pinned else revision or "main")


def describe(
    directory: Path, *, model: str, revision: str | None, trust: bool = False, weights: bool = True
) -> Base:
    """Read what a checkpoint folder holds and hash every file that loading may read.

    Raises SpecError, also for code that may not run.
    """
    if (directory / ADAPTER).is_file():  # transformers would load the model that it names, from anywhere
        raise SpecError(
            f"{directory} holds an adapter ({ADAPTER})",
            hint="base.model is a whole model; merge the adapter into it, or move its files elsewhere",
        )
    family = family_of(directory)
    _check_code(family, str(directory), trust=trust, weights=weights)
    if trust:
        _check_origin_of_code(directory)
    names = files_in(directory, code=trust)
    code = code_files(names) if trust else []
    held = (
        weight_files(names, directory=directory, what=str(directory)) if weights else _any_weights(directory)
    )
    hashed = sorted([*small_files(names), *code, *(held if weights else [])])
    return Base(
        model=model,
        revision=revision,
        licence=read_licence(directory),
        directory=directory,
        files=tuple(_file(directory, name) for name in hashed),
        family=family,
        model_type=read_model_type(directory),
        trusted=trust,
        weights=tuple(held),
        quantization=read_quantization(directory),
    )


def _file(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    return {"path": name, "sha256": sha256_hex_of_file(path), "bytes": path.stat().st_size}


def _any_weights(directory: Path) -> list[str]:
    """List the weight files that happen to be there; none when they are incomplete."""
    try:
        return weight_files(files_in(directory, code=False), directory=directory, what=str(directory))
    except SpecError:
        return []


def _check_code(family: Family, what: str, *, trust: bool, weights: bool) -> None:
    """Refuse a model whose code may not run, or is not there to run. Raises SpecError, UnknownFamilyError."""
    if family.code == "repository" and not trust and weights:
        raise SpecError(
            f"{what} runs on Python code of its own repository ({family.name})",
            hint="read that code, then set base.trust_remote_code: true and base.revision to its commit",
        )
    if family.code == "transformers" and trust:
        raise SpecError(
            f"{what} runs on transformers' own code ({family.name}); code of its repository is not needed",
            hint="remove base.trust_remote_code",
        )
    if family.code == "none" and weights:
        raise UnknownFamilyError(
            f"{what} cannot be loaded: transformers has no class for {family.name} and its repository brings "
            "none; it needs the package its authors wrote",
            hint="`kolm plan` works without it; `kolm models` lists the families that can be trained",
        )


def _check_origin_of_code(directory: Path) -> None:
    """Raises SpecError."""
    if foreign := foreign_code(directory):
        raise SpecError(
            f"{directory} takes {foreign[0]} from another repository, whose code nobody pinned",
            hint="copy that file beside config.json and name it in auto_map without the repository",
        )


def remember_base(base: Base) -> None:
    """Note where this base lies, so that `kolm run` finds it by its file digests."""
    note = _note(base.identity)
    make_folder(note.parent)
    write_atomic(note, str(base.directory.resolve()).encode())


def recall_base(identity: dict[str, Any], *, directory: Path | None = None, trust: bool = False) -> Base:
    """Return the base an artifact was compiled from, checked file by file.

    `directory` is where to look; without it, the folder noted at compile time, then the hub. A base that
    runs code of its own is returned only with `trust`: an artifact from elsewhere could name any code.
    Raises SpecError for that code and for a `directory` that is none, TrainError when the base is not there
    or its files differ.
    """
    code = code_files(entry["path"] for entry in identity["files"])
    if code and not trust:
        raise SpecError(
            f"the base model {identity['model']!r} runs {len(code)} Python files of its own, "
            f"such as {code[0]}",
            hint="read them; then allow it: --trust-code, in Python trust_code=True",
        )
    if directory is not None and not directory.is_dir():
        raise SpecError(f"no folder at {directory}", hint="--base names the folder of the base model")
    directory = directory or noted_folder(identity)
    named = {"model": identity["model"], "revision": identity["revision"], "trust": bool(code)}
    if directory is not None and directory.is_dir():
        base = describe(directory, **named)
    elif identity["revision"]:
        base = find_base(identity["model"], **named)
    else:
        raise TrainError(
            f"the base model {identity['model']!r} is not on this machine",
            hint="name its folder with --base DIR",
        )
    _require_same(base, identity)
    return base


def noted_folder(identity: dict[str, Any]) -> Path | None:
    """Return the folder where a base lay when it was compiled from; None when nobody noted it here."""
    note = _note(identity)
    return Path(note.read_text(encoding="utf-8")) if note.is_file() else None


def _require_same(base: Base, identity: dict[str, Any]) -> None:
    """Raises TrainError."""
    then, now = (
        {entry["path"]: (entry["sha256"], entry["bytes"]) for entry in files}
        for files in (identity["files"], base.files)
    )
    changed = sorted(path for path in then.keys() | now.keys() if then.get(path) != now.get(path))
    if changed:
        raise TrainError(
            f"{base.directory} is not the base this artifact was compiled from: {changed[0]} differs",
            hint="name the right folder with --base DIR",
        )


def _note(identity: dict[str, Any]) -> Path:
    digests = "".join(entry["sha256"] for entry in identity["files"])
    return home() / "bases" / sha256_hex(digests.encode())

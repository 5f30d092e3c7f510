"""Repositories on a hub: which commit a name means, and its files in the cache, each checked.

The hub client's own variables hold: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

import glob
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.trainer.refusals import cache_folder, endpoint, not_cached, told
from kolm.errors import StorageError, TrainError
from kolm.files import make_folder, write_atomic
from kolm.tensors import DTYPES

COMMIT = re.compile(r"[0-9a-f]{40}")
_ASK_TIMEOUT = 10  # seconds until a hub that does not answer is given up
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Listed:
    """What the hub says of one file at one commit."""

    bytes: int
    digest: str | None
    """SHA-256 (64 hex digits) of a file kept by Git LFS, else the git blob id (40); None when nobody said."""


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit, as far as it is in the cache."""

    model: str
    commit: str
    directory: Path
    """Where its files lie or will lie."""
    listed: Mapping[str, Listed]
    """Every file of the repository at this commit."""

    def fetch(self, names: Iterable[str]) -> None:
        """Bring files into the cache; those that are there are left alone.

        Raises TrainError, StorageError before the download when the disk has no room for it.
        """
        from huggingface_hub import is_offline_mode, snapshot_download

        missing = [name for name in names if not (self.directory / name).is_file()]
        if not missing:
            return
        if is_offline_mode():
            raise not_cached(f"{self.model} at {self.commit[:12]}: {missing[0]}")
        self._require_room(missing)
        with told(self.model, self.commit), _bars(shown=sys.stderr.isatty()):
            snapshot_download(
                self.model, revision=self.commit, allow_patterns=[glob.escape(n) for n in missing]
            )
        lost = [name for name in missing if not (self.directory / name).is_file()]
        if lost:
            raise TrainError(f"{self.model}: {lost[0]} did not arrive", hint="run it again")

    def check(self, files: Iterable[Mapping[str, Any]]) -> None:
        """Compare files (`{path, sha256, bytes}`) with what the hub says of this commit.

        Raises TrainError.
        """
        for entry in files:
            path = self.directory / entry["path"]
            listed = self.listed.get(entry["path"])
            if listed is None:
                raise TrainError(
                    f"{path} is not in {self.model} at {self.commit[:12]}",
                    hint="move it out of the cache and run it again",
                )
            found = entry["sha256"] if listed.digest and len(listed.digest) == 64 else _blob_id(path)
            if listed.digest not in (None, found):
                raise TrainError(
                    f"{path} is not the file that {self.model} has at {self.commit[:12]}: "
                    f"its digest is {found[:12]}, the hub says {listed.digest[:12]}",
                    hint=f"delete {path.resolve()} and run it again, to fetch it anew",
                )

    def _require_room(self, names: list[str]) -> None:
        """Raises StorageError."""
        needed = sum(self.listed[name].bytes for name in names)
        cache = self.directory.parents[2]
        free = shutil.disk_usage(next(place for place in (cache, *cache.parents) if place.is_dir())).free
        if needed > free:
            raise StorageError(
                f"{self.model} needs {needed / 1e9:.1f} GB more in {cache}, which has {free / 1e9:.1f} GB",
                hint="free some space, or set HF_HOME to a folder on another disk",
            )


def open_snapshot(model: str, revision: str | None) -> Snapshot:
    """Find out which commit a branch, tag or commit of a repository is; None is the main branch.

    A whole commit that is in the cache is not asked for again, because a commit never changes.
    Raises SpecError for what the hub does not have, TrainError when it cannot or may not be asked.
    """
    from huggingface_hub import HfApi, is_offline_mode

    folder = cache_folder(model)
    offline = is_offline_mode()
    commit = revision if revision and COMMIT.fullmatch(revision) else None
    if offline and commit is None:
        commit = _cached_commit(folder, revision or "main")
        if commit is None:
            raise not_cached(f"{model} at {revision or 'main'}")
    if commit:
        listed = _cached_listing(folder, commit, guess=offline)
        if listed:
            return Snapshot(model, commit, folder / "snapshots" / commit, listed)
        if offline:
            raise not_cached(f"{model} at {commit[:12]}")
    with told(model, revision):
        info = HfApi().model_info(model, revision=revision, timeout=_ASK_TIMEOUT, files_metadata=True)
    if not info.sha or not COMMIT.fullmatch(info.sha):
        raise TrainError(
            f"{endpoint()} does not answer like a hub: it names no commit", hint="check HF_ENDPOINT"
        )
    listed = {
        file.rfilename: Listed(file.size or 0, file.lfs.sha256 if file.lfs else file.blob_id)
        for file in info.siblings or []
    }
    if commit is None:
        _remember_commit(folder, revision or "main", info.sha)
    return Snapshot(model, info.sha, folder / "snapshots" / info.sha, listed)


def fetch_header(model: str, commit: str, name: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read dtype (as torch spells it) and shape of every tensor of a weight file, without the tensors.

    Raises TrainError.
    """
    from huggingface_hub import HfApi, is_offline_mode
    from huggingface_hub.errors import SafetensorsParsingError

    if is_offline_mode():
        raise not_cached(f"{model} at {commit[:12]}: {name}")
    try:
        with told(model, commit):
            api = HfApi()
            header = api.parse_safetensors_file_metadata(model, name, revision=commit, timeout=_ASK_TIMEOUT)
        return {key: (DTYPES[info.dtype][0], tuple(info.shape)) for key, info in header.tensors.items()}
    except (SafetensorsParsingError, KeyError) as err:
        raise TrainError(
            f"{model}: {name} is not a safetensors file that can be read", hint="name another revision"
        ) from err


def _cached_commit(folder: Path, revision: str) -> str | None:
    """Return the commit that a branch or tag was when it was last fetched."""
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _remember_commit(folder: Path, revision: str, commit: str) -> None:
    """Keep what a branch or tag is, the way the hub client does, for when there is no network."""
    note = folder / "refs" / revision
    inside = note.is_relative_to(folder / "refs") and ".." not in note.parts
    if inside and _cached_commit(folder, revision) != commit:
        with suppress(StorageError):  # a cache that cannot be written can still be read
            make_folder(note.parent)
            write_atomic(note, commit.encode())


def _cached_listing(folder: Path, commit: str, *, guess: bool) -> dict[str, Listed]:
    """Return what is known of a commit's files without asking; empty when nothing is.

    The client keeps the hub's listing in `trees/`. With `guess`, the files of the snapshot folder stand
    for a listing that is not there; the blobs they link to are named by their digests.
    """
    try:
        listing = json.loads((folder / "trees" / f"{commit}.json").read_text(encoding="utf-8"))
        return {
            name: Listed(file["size"], file.get("lfs_sha256") or file["blob_id"])
            for name, file in listing["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    held = folder / "snapshots" / commit
    if not guess or not held.is_dir():
        return {}
    paths = [path for path in held.rglob("*") if path.is_file()]
    return {p.relative_to(held).as_posix(): Listed(p.stat().st_size, _blob_named_by(p)) for p in paths}


def _blob_named_by(path: Path) -> str | None:
    """Return the digest in the name of the blob that a cached file links to."""
    name = path.readlink().name if path.is_symlink() else ""
    return name if _DIGEST.fullmatch(name) else None


def _blob_id(path: Path) -> str:
    """Return git's id of a file: SHA-1 over `blob SIZE NUL content` (git-hash-object)."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _bars(*, shown: bool) -> Iterator[None]:
    """Let the hub client draw its progress bars, or not."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    change = not shown and not are_progress_bars_disabled()
    if change:
        disable_progress_bars()
    try:
        yield
    finally:
        if change:
            enable_progress_bars()

"""Where kolm keeps its state, and the only way it writes files: complete, or not at all.

A file appears under its name when every byte of it is on the disk. Anything that goes wrong before
that leaves what was there before, and nothing else.
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from kolm.errors import ArtifactError, SpecError, StorageError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk, and run it again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write elsewhere, and run it again"),
    errno.EFBIG: ("the file is larger than this system allows", "raise the file size limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission denied", "check who owns the file and its folder"),
    errno.EPERM: ("not permitted", "check who owns the file and its folder"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("a part of the path is not a folder", "check the path"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.EEXIST: ("it exists already", "move it away, or choose another name"),
}
_DISK_REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def home() -> Path:
    """Return the folder of kolm's state: `$KOLM_HOME`, else `~/.kolm`."""
    configured = os.environ.get("KOLM_HOME")
    return Path(configured).expanduser() if configured else Path.home() / ".kolm"


def refusal(error: OSError, *, action: str, path: Path) -> StorageError:
    """Say in words why the file system refused to `action` (read, write, ...) `path`."""
    reason, hint = _REASONS.get(
        error.errno or 0, (error.strerror or str(error), "check the path and the disk")
    )
    return StorageError(f"cannot {action} {path}: {reason}", hint=hint)


class AtomicFile:
    """A file that is written beside `path` and takes its name when the block ends without an error.

    The bytes are on the disk before the name is. `mode` is subject to the umask; with `overwrite=False`
    an existing file is refused, also one that appears meanwhile. Raises StorageError.
    """

    def __init__(self, path: Path, *, mode: int = 0o644, overwrite: bool = True) -> None:
        self._path = path
        self._mode = mode
        self._overwrite = overwrite
        self._temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")

    def __enter__(self) -> BinaryIO:
        try:
            _require_plain(self._path)
            self._handle = open(self._temporary, "xb", opener=self._create)
        except OSError as err:
            raise refusal(err, action="write", path=self._path) from err
        return self._handle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except OSError as err:
            raise refusal(err, action="write", path=self._path) from err
        finally:
            self._discard()
        if isinstance(error, OSError) and error.filename is None:  # a named one is about another file
            raise refusal(error, action="write", path=self._path) from error

    def _create(self, name: str, flags: int) -> int:
        return os.open(name, flags, self._mode)

    def _finish(self) -> None:
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()
        if self._overwrite:
            self._temporary.replace(self._path)
        else:
            os.link(self._temporary, self._path)
        _sync_folder(self._path.parent)

    def _discard(self) -> None:
        with suppress(OSError):  # flushing what could not be written: the first error has been told
            self._handle.close()
        self._temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, overwrite: bool = True) -> None:
    """Write `data` to `path`, complete or not at all. Raises StorageError."""
    with AtomicFile(path, mode=mode, overwrite=overwrite) as handle:
        handle.write(data)


def replace(source: Path, *, target: Path) -> None:
    """Give the finished file `source` the name `target`, on the same file system. Raises StorageError."""
    try:
        with source.open("rb") as handle:
            os.fsync(handle.fileno())
        source.replace(target)
        _sync_folder(target.parent)
    except OSError as err:
        raise refusal(err, action="write", path=target) from err


def replace_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Give finished files their names, (source, target) each: all of them, or none.

    Every target is looked at before the first file moves; the files that had the names wait beside the
    sources, which is on the same file system, and come back when a later move fails. Raises StorageError.
    """
    for _, target in moves:
        _require_plain(target)
    with ExitStack() as undo:
        for source, target in moves:
            if os.path.lexists(target):
                aside = source.with_name(f".{source.name[:100]}.{secrets.token_hex(8)}.old")
                _rename(target, aside)
                undo.callback(_rename, aside, target)
            undo.callback(_take_back, source, target)
            replace(source, target=target)
        undo.pop_all()


def _take_back(source: Path, target: Path) -> None:
    """Undo a move; one that did not happen left its source where it was."""
    if not source.exists() and target.exists():
        _rename(target, source)


def _rename(path: Path, new: Path) -> None:
    try:
        path.replace(new)
    except OSError as err:
        raise refusal(err, action="move", path=path) from err


def _require_plain(target: Path) -> None:
    """Refuse to replace a folder, a device or a pipe. Raises StorageError."""
    try:
        if target.exists() and not target.is_file():
            raise StorageError(f"cannot write {target}: it is not a plain file", hint="name a file")
    except OSError as err:
        raise refusal(err, action="write", path=target) from err


def make_folder(path: Path, *, mode: int = 0o777) -> Path:
    """Make `path` and its parents where they are missing, and return it. Raises StorageError."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as err:
        raise refusal(err, action="make the folder", path=path) from err
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone, among processes as among threads; it stays. Raises StorageError."""
    try:
        handle = path.open("ab")
    except OSError as err:
        raise refusal(err, action="lock", path=path) from err
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def staging(out_dir: Path) -> Iterator[Path]:
    """Yield an empty folder inside `out_dir`; it is gone afterwards, whatever happened.

    A disk that refuses a write anywhere in the block is reported as such, whoever wrote.
    Raises StorageError.
    """
    folder = make_folder(out_dir) / f".staging-{secrets.token_hex(8)}"
    make_folder(folder, mode=0o700)
    try:
        yield folder
    except OSError as err:
        if err.errno not in _DISK_REFUSED:
            raise
        raise refusal(err, action="write to", path=out_dir) from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_folder(directory: Path) -> Iterator[Path]:
    """Yield an empty draft that becomes `directory` when the block ends without an error.

    Raises SpecError when `directory` exists and is not an empty folder, StorageError.
    """
    refuse_occupied(directory)
    place = directory.absolute()
    with staging(place.parent) as stage:
        draft = make_folder(stage / "draft")
        yield draft
        try:
            draft.rename(place)
        except OSError as err:
            raise refusal(err, action="write", path=directory) from err


def refuse_occupied(directory: Path) -> None:
    """Raise SpecError when `directory` is a file, or a folder that holds something."""
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if directory.exists() or directory.is_symlink():
        hint = "name a folder that does not exist yet"
        raise SpecError(f"{directory} exists and is not an empty folder", hint=hint)


def open_for_reading(path: Path, *, what: str) -> FileIO:
    """Open the plain file `path` unbuffered; pipes, devices and folders are refused. Raises StorageError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # asked first: opening a pipe would wait for its writer
            raise StorageError(f"cannot read the {what} {path}: it is not a plain file", hint="name a file")
        return path.open("rb", buffering=0)
    except OSError as err:
        raise refusal(err, action=f"read the {what}", path=path) from err


def read_bytes(path: Path, *, what: str, max_bytes: int | None = None) -> bytes:
    """Read the whole file `path`; `what` names it in the message (`receipt`, `spec`).

    Raises StorageError, and ArtifactError E_LIMIT before reading when it is larger than `max_bytes`.
    """
    with open_for_reading(path, what=what) as handle:
        size = os.fstat(handle.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise ArtifactError(
                f"the {what} {path} has {size} bytes; at most {max_bytes} are read",
                check="E_LIMIT",
                hint=f"check that this is a {what}",
            )
        try:
            return handle.read()
        except OSError as err:
            raise refusal(err, action=f"read the {what}", path=path) from err


def _sync_folder(folder: Path) -> None:
    """Put a new name on the disk, where folders can be opened at all."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""A new folder that appears complete, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kolm.errors import SpecError
from kolm.files import make_folder, refusal, staging


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

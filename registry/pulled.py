"""The files of a pulled artifact: their names, and how they get them all or not at all."""

import re
from dataclasses import dataclass
from pathlib import Path

from kolm.cid import CID, cid_of_file
from kolm.errors import StorageError
from kolm.files import replace_all

_ENDINGS = {"artifact": "kolm", "receipt": "receipt.json", "modules": "modules.json", "proof": "proof"}
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Paths:
    """The files that a pull wrote."""

    artifact: Path
    receipt: Path
    modules: Path
    proof: Path | None
    """None when the registry has no proof of the receipt."""


def place(staged: Path, out: Path, *, name: str, overwrite: bool) -> Paths:
    """Give the files that lie in `staged`, named by what they are, their names in `out`.

    A file with other content is refused unless `overwrite`, except a proof: each is as good as another.
    Raises StorageError.
    """
    parts = [part for part in _ENDINGS if (staged / part).exists()]
    paths = {part: out / f"{name}.{_ENDINGS[part]}" for part in parts}
    fresh = [part for part in parts if not _same(staged / part, paths[part])]
    taken = [paths[part] for part in fresh if part != "proof" and paths[part].exists()]
    if taken and not overwrite:
        raise StorageError(
            f"{taken[0]}: exists with other content",
            hint="choose another folder with --out, or move the file away",
        )
    replace_all([(staged / part, paths[part]) for part in fresh])
    return Paths(paths["artifact"], paths["receipt"], paths["modules"], paths.get("proof"))


def file_name(name: str, cid: CID) -> str:
    """Return an artifact's name if it is safe as a file name, else its CID."""
    return name if _FILE_NAME.fullmatch(name) else cid


def _same(source: Path, target: Path) -> bool:
    return target.is_file() and cid_of_file(target) == cid_of_file(source)

"""Python code that comes with a model: what runs is what was digested."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from apps.trainer.bases import Base
from kolm.cid import sha256_hex, sha256_hex_of_file
from kolm.errors import TrainError

_PACKAGE = "transformers_modules."
"""Where transformers imports such code from: a copy below HF_MODULES_CACHE, in folders named by content."""


@contextmanager
def only_code_of(base: Base) -> Iterator[None]:
    """Run a block in which transformers may import code that comes with a base: its digested files alone.

    transformers copies the files into its own folder and imports the copies, so both are compared with
    the digests in `base.files`. Raises TrainError, also for what only such code raises.
    """
    if not base.trusted:
        yield
        return
    digests = {file["path"]: file["sha256"] for file in base.files if file["path"].endswith(".py")}
    for path, digest in digests.items():
        if not (base.directory / path).is_file() or sha256_hex_of_file(base.directory / path) != digest:
            raise _other_code(base, base.directory / path)
    before = set(sys.modules)
    try:
        yield
    except (SyntaxError, NameError, LookupError, ArithmeticError) as err:
        raise TrainError(
            f"the code that {base.model} came with fails: {type(err).__name__}: {err}",
            hint="it may be for another version of Python or transformers: see the model's page",
        ) from err
    known = {*digests.values(), sha256_hex(b"")}  # the packages around the copies are empty files
    for name, module in list(sys.modules.items()):
        if name.startswith(_PACKAGE) and name not in before and _source_digest(module) not in known:
            raise _other_code(base, Path(module.__file__ or name))


def _source_digest(module: ModuleType) -> str:
    """A package without a file runs nothing."""
    return sha256_hex_of_file(Path(module.__file__)) if module.__file__ else sha256_hex(b"")


def _other_code(base: Base, path: Path) -> TrainError:
    return TrainError(
        f"{path} is not the code that {base.model} came with",
        hint="delete it and run it again; if it was changed on purpose, it is another base",
    )

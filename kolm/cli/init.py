"""`kolm init`: a folder with everything that one compile needs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from kolm.cli.console import command, emit, note
from kolm.cli.options import AsJson


@command
def init(
    directory: Annotated[Path, typer.Argument(help="Folder to write; it must be empty or not exist.")],
    demo: Annotated[str, typer.Option(help="Which demo: digits or charts.")],
    base: Annotated[
        str, typer.Option(help="Shipped base: qwen2_5_vl-tiny or llava-tiny.")
    ] = "qwen2_5_vl-tiny",
    train_rows: Annotated[int | None, typer.Option(help="Fewer training rows, for a quick look.")] = None,
    eval_rows: Annotated[int | None, typer.Option(help="Fewer eval rows, for a quick look.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a demo: spec, pictures, eval pack and base; make a signing key if there is none."""
    from apps.capture.charts import CHARTS
    from apps.capture.demo import write_demo
    from apps.capture.digits import DIGITS
    from kolm.errors import SpecError

    demos = {known.name: known for known in (DIGITS, CHARTS)}
    if demo not in demos:
        hint = " or ".join(f"--demo {name}" for name in demos)
        raise SpecError(f"there is no demo {demo!r}", hint=hint)
    with _signing_key() as keep:
        write_demo(demos[demo], directory, base=base, train_rows=train_rows, eval_rows=eval_rows)
        key = keep()
    if as_json:
        emit({"directory": str(directory), "spec": str(directory / "spec.yaml"), "key": key}, as_json=True)
        return
    emit(f"wrote    {directory}\nnext     kolm compile {directory / 'spec.yaml'}")


@contextmanager
def _signing_key() -> Iterator[Callable[[], str | None]]:
    """Make a signing key if there is none; yield what saves and trusts it and returns its id.

    Everything that can be refused is tried before the yield, so that a demo without a key is not left
    behind. Raises SigningError, StorageError.
    """
    import os

    from kolm.files import make_folder, replace_all, staging
    from kolm.keys import PrivateKey, key_path, passphrase_source, public_path, save_private
    from kolm.trust import default_trust_dir, trust_key

    path, trust = key_path(), default_trust_dir()
    if path.exists():
        yield lambda: None
        return
    chosen = os.environ.keys() & {"KOLM_KEY_PASSPHRASE", "KOLM_KEY_PASSPHRASE_FILE"}
    passphrase = passphrase_source(prompt=False)() if chosen else None
    key = PrivateKey.generate()

    def keep() -> str:
        made = draft / path.name
        replace_all([(public_path(made), public_path(path)), (made, path)])
        trust_key(trust, key.public, label="default")
        note(f"made a signing key, {'encrypted' if passphrase else 'unencrypted'}: {path}")
        note(f"trusted it for verification: {trust}")
        return key.key_id

    with staging(trust), staging(make_folder(path.parent, mode=0o700)) as draft:
        save_private(key, draft / path.name, passphrase=passphrase)
        yield keep

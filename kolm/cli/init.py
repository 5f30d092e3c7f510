"""`kolm init`: a folder with everything that one compile needs."""

from pathlib import Path
from typing import Annotated

import typer

from kolm.cli.console import command, emit, note


@command
def init(
    directory: Annotated[Path, typer.Argument(help="Folder to write; it must be empty or not exist.")],
    demo: Annotated[str, typer.Option(help="Which demo: digits.")],
    base: Annotated[
        str, typer.Option(help="Shipped base: qwen2_5_vl-tiny or llava-tiny.")
    ] = "qwen2_5_vl-tiny",
    train_rows: Annotated[int, typer.Option(help="Fewer training rows, for a quick look.")] = 1200,
    eval_rows: Annotated[int, typer.Option(help="Fewer eval rows, for a quick look.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a demo: spec, pictures, eval pack and base; make a signing key if there is none."""
    from apps.capture.demo import write_digits
    from kolm.errors import SpecError

    if demo != "digits":
        raise SpecError(f"there is no demo {demo!r}", hint="--demo digits")
    write_digits(directory, base=base, train_rows=train_rows, eval_rows=eval_rows)
    key = _ensure_key()
    if as_json:
        emit({"directory": str(directory), "spec": str(directory / "spec.yaml"), "key": key}, as_json=True)
        return
    emit(f"wrote    {directory}\nnext     kolm compile {directory / 'spec.yaml'}")


def _ensure_key() -> str | None:
    """Make, save and trust a signing key if there is none; return its id if one was made."""
    import os

    from kolm.files import make_folder
    from kolm.keys import PrivateKey, key_path, passphrase_source, save_private
    from kolm.trust import default_trust_dir, trust_key

    path = key_path()
    if path.exists():
        return None
    chosen = os.environ.keys() & {"KOLM_KEY_PASSPHRASE", "KOLM_KEY_PASSPHRASE_FILE"}
    passphrase = passphrase_source(prompt=False)() if chosen else None
    key = PrivateKey.generate()
    make_folder(path.parent, mode=0o700)
    save_private(key, path, passphrase=passphrase)
    trust_key(default_trust_dir(), key.public, label="default")
    kept = "encrypted" if passphrase else "unencrypted"
    note(f"made a signing key, {kept}: {path}")
    note(f"trusted it for verification: {default_trust_dir()}")
    return key.key_id

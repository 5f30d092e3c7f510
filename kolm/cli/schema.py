"""`kolm schema`: the JSON Schema of a spec, for editors and other tools."""

from pathlib import Path
from typing import Annotated

import typer

from kolm.cli.console import command, emit


@command
def schema(
    out: Annotated[Path | None, typer.Option(help="File to write it to; else stdout.")] = None,
) -> None:
    """Print the JSON Schema of a spec, for editors."""
    from kolm.files import write_atomic
    from kolm.spec import schema_text

    if out is None:
        emit(schema_text().rstrip("\n"))
    else:
        write_atomic(out, schema_text().encode())

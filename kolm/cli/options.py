"""Options that several commands share: one spelling and one word of help each."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Registry = Annotated[str, typer.Option(help="Address of the registry, such as http://127.0.0.1:8150.")]
FromRegistry = Annotated[str | None, typer.Option("--registry", help="Where to fetch a CID from.")]
MovedBase = Annotated[Path | None, typer.Option("--base", help="Folder of the base model, if it moved.")]
TrustCode = Annotated[bool, typer.Option("--trust-code", help="Run the base's own Python code.")]

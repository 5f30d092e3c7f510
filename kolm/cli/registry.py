"""`kolm registry serve`: keep what was proven and hand it out by CID."""

from pathlib import Path
from typing import Annotated

import typer

from kolm.cli.console import command, emit, note, require_extra
from kolm.errors import RegistryError

app = typer.Typer(help="Run a registry.", no_args_is_help=True)

DEFAULT_PORT = 8150


@app.callback()
def registry() -> None:
    """Run a registry."""


@app.command()
@command
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; this machine only by default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    data: Annotated[
        Path | None, typer.Option(help="Where artifacts are kept.", show_default="$KOLM_HOME/registry")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Whose signatures are accepted.", show_default="$KOLM_HOME/trust")
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="Name of its log.", show_default="kolm-registry/ID of its key")
    ] = None,
) -> None:
    """Serve a registry until it is interrupted; its address is the one line on stdout."""
    from kolm.files import home
    from kolm.trust import TrustStore, default_trust_dir

    for module in ("fastapi", "uvicorn", "sqlalchemy", "python_multipart"):
        require_extra(module, "registry", error=RegistryError)
    from registry.app import create_app
    from registry.server import address_of, is_loopback, listen
    from registry.server import serve as run
    from registry.settings import RegistrySettings

    settings = RegistrySettings(
        data=data or home() / "registry", trust=trust or default_trust_dir(), origin=origin
    )
    with listen(host, port) as listener:
        if not TrustStore.open(settings.trust).keys:
            note("warning: no key is trusted yet, so every upload will be refused; see kolm key trust")
        application = create_app(settings)
        if not is_loopback(listener):
            note("warning: anyone who reaches this address can read everything and add what verifies")
        note(f"log.vkey {application.state.service.log.key.vkey}")
        note(f"summary key {application.state.service.summaries.public.key_id}")
        line = f"registry on {address_of(listener)} data {settings.data} trust {settings.trust}"
        run(application, listener, on_ready=lambda: emit(line))

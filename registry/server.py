"""Serving the registry: the socket, the line that says where, and a graceful end."""

import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from kolm.errors import RegistryError

DRAIN_SECONDS = 10
"""How long requests under way may take after a signal to stop."""


class Server(uvicorn.Server):
    """A uvicorn server that says when it takes requests."""

    def __init__(self, app: FastAPI, *, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then call `on_ready`."""
        await super().startup(sockets)
        self._on_ready()


def listen(host: str, port: int) -> socket.socket:
    """Bind a TCP socket; port 0 takes a free one. Raises RegistryError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as err:
        raise RegistryError(f"{host}: not an address to listen on", hint="try --host 127.0.0.1") from err
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()
    except OSError as err:
        listener.close()
        raise RegistryError(
            f"{host}:{port}: cannot listen there: {(err.strerror or str(err)).lower()}",
            hint="choose another --port, or --port 0 for a free one",
        ) from err
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the URL under which a bound socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, listener: socket.socket, *, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first, then return.

    uvicorn raises the signal again after its own shutdown; the handlers here take it, because a
    service that was asked to stop and did has not failed.
    """
    server = Server(app, on_ready=on_ready)

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    previous = {sig: signal.signal(sig, stop) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listener])
    finally:
        for sig, handler in previous.items():
            signal.signal(sig, handler)
        listener.close()


def is_loopback(listener: socket.socket) -> bool:
    """Return whether only this machine reaches a bound socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback

"""Containers whose reading began before anybody asked for them."""

from concurrent.futures import Future
from pathlib import Path

from kolm.container.reader import Container

_begun: dict[Path, Future[Container]] = {}


def begin(path: Path) -> None:
    """Begin to read a file that will probably be asked for."""
    _begun[path] = Container.begin(path)


def opening(path: Path) -> Future[Container]:
    """Return the container of a file while it is being read; its errors are those of `Container.open`."""
    return _begun.pop(path, None) or Container.begin(path)

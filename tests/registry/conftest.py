"""A registry in memory of nobody but the test, and one behind a real socket."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from registry.app import create_app
from registry.server import Server, address_of, listen
from registry.settings import RegistrySettings
from tests.registry.offers import Offer, TakesItsWord, make_offer


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    trust = tmp_path / "trust"
    trust.mkdir()
    return RegistrySettings(
        data=tmp_path / "data", trust=trust, max_artifact_bytes=1_000_000, max_receipt_bytes=100_000
    )


@pytest.fixture
def application(settings: RegistrySettings) -> FastAPI:
    return create_app(settings, verifier=TakesItsWord())


@pytest.fixture
def http(application: FastAPI) -> Iterator[TestClient]:
    with TestClient(application) as client:
        yield client


@pytest.fixture
def offer(tmp_path: Path) -> Offer:
    return make_offer(tmp_path / "offer")


@contextmanager
def serving(application: FastAPI) -> Iterator[str]:
    """Serve on a free loopback port in a thread and yield the URL."""
    listener = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = Server(application, on_ready=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(10)
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def url(application: FastAPI) -> Iterator[str]:
    with serving(application) as address:
        yield address

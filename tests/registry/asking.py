"""Asking a registry past its clients, and looking at what it kept."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI

from kolm.cid import cid_of
from registry.settings import RegistrySettings

SOMEBODY = cid_of(b"something that nobody stored")


def blobs_of(settings: RegistrySettings) -> list[Path]:
    return [path for path in (settings.data / "blobs").rglob("*") if len(path.name) == 64]


async def plain_get(application: FastAPI, path: str) -> tuple[int, bytes]:
    """Ask without a client, because clients refuse to send addresses this long."""
    sent: list[dict[str, Any]] = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await application(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

"""Uploads that are malformed, too large or cut off, and what they leave behind."""

import asyncio
import io
import os
import threading
import time
from collections.abc import AsyncIterator

import pytest
from fastapi.testclient import TestClient

from kolm.errors import StorageError
from registry.settings import RegistrySettings
from registry.uploads import _drain, _File, _Form, sweep
from tests.registry.offers import Offer, slug


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"receipt": None}, "missing part: receipt"),
        ({"surprise": (None, "x")}, "unknown part 'surprise'"),
        ({"allow_failed": (None, "maybe")}, "allow_failed is true or false"),
    ],
    ids=["part missing", "part unknown", "flag neither true nor false"],
)
def test_a_malformed_upload_says_what_is_wrong(http: TestClient, offer: Offer, changes, why: str):
    parts = {name: part for name, part in (offer.parts() | changes).items() if part is not None}
    answer = http.post("/v1/artifacts", files=parts)
    assert (answer.status_code, slug(answer)) == (400, "malformed_upload")
    assert why in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'--x\r\nContent-Disposition: form-data; name="artifact"\r\n\r\nabc', "ends before"),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nabc\r\n--x--\r\n", "no name"),
        (b"--y\r\n\r\n", "cannot be read"),
        (b"", "ends before"),
        (
            b'--x\r\nContent-Disposition: form-data; name="cid"\r\n\r\na\r\n'
            b'--x\r\nContent-Disposition: form-data; name="cid"\r\n\r\na\r\n--x--\r\n',
            "there twice",
        ),
    ],
    ids=["truncated", "nameless part", "other boundary", "empty", "part repeated"],
)
def test_a_broken_body_is_a_malformed_upload(http: TestClient, body: bytes, why: str):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = http.post("/v1/artifacts", content=body, headers=headers)
    assert (answer.status_code, slug(answer)) == (400, "malformed_upload")
    assert why in answer.json()["detail"]


def test_an_upload_that_is_not_a_form_is_another_media_type(http: TestClient):
    answer = http.post("/v1/artifacts", json={"artifact": "?"})
    assert (answer.status_code, slug(answer)) == (415, "unsupported_media_type")


@pytest.mark.parametrize(("part", "size"), [("artifact", 1_000_001), ("receipt", 100_001), ("cid", 1025)])
def test_a_part_over_its_limit_is_too_large(
    http: TestClient, offer: Offer, settings: RegistrySettings, part: str, size: int
):
    answer = http.post("/v1/artifacts", files=offer.parts() | {part: ("x", bytes(size))})
    assert (answer.status_code, slug(answer)) == (413, "too_large")
    assert answer.json()["limit_bytes"] == size - 1
    assert list(settings.incoming.iterdir()) == []


def test_a_body_over_all_limits_is_refused_by_its_length_or_as_it_comes(http: TestClient):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    by_length = http.post("/v1/artifacts", content=bytes(2_000_000), headers=headers)
    epilogue = b"--x--\r\n"  # everything after the last boundary belongs to no part
    pieces = iter([b"--x\r\n", b'Content-Disposition: form-data; name="cid"\r\n\r\na\r\n', epilogue])
    chunked = http.post(
        "/v1/artifacts", content=(piece for piece in [*pieces, *[bytes(100_000)] * 20]), headers=headers
    )
    for answer in (by_length, chunked):
        assert (answer.status_code, slug(answer)) == (413, "too_large")


def test_a_crashed_upload_is_swept_after_a_day(settings: RegistrySettings):
    for name, age in {"old": 25 * 3600, "fresh": 3600}.items():
        left = settings.incoming / name
        left.mkdir(parents=True)
        os.utime(left, (time.time() - age, time.time() - age))
    sweep(settings.incoming)
    assert [left.name for left in settings.incoming.iterdir()] == ["fresh"]


def test_a_data_directory_that_is_a_file_is_refused(settings: RegistrySettings):
    settings.data.write_text("not a folder")
    with pytest.raises(StorageError, match="not a folder"):
        sweep(settings.incoming)


class Recorder(io.BytesIO):
    """A file that knows in which thread it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def write(self, data) -> int:
        self.threads.add(threading.get_ident())
        return super().write(data)


class Body:
    """A request that is only a body."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    async def stream(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


def test_the_disk_is_written_outside_the_event_loop():
    handle = Recorder()
    form = _Form(b"x", sinks=[_File("artifact", 10_000_000, handle)])
    head = b'--x\r\nContent-Disposition: form-data; name="artifact"\r\n\r\n'
    asyncio.run(_drain(Body(head, *[b"abc" * 100_000] * 10, b"\r\n--x--\r\n"), form, limit=10_000_000))
    assert handle.getvalue() == b"abc" * 1_000_000
    assert handle.threads
    assert threading.get_ident() not in handle.threads

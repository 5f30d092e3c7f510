"""A client that trusts no registry: whatever it receives is named by its own bytes before it gets a name.

Needs httpx and pydantic only. Nothing is left on the disk unless it is complete and has the CID that
was asked for.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from kolm.artifact import Artifact
from kolm.cid import CID, cid_of, cid_of_digest, cid_of_file, parse_cid
from kolm.errors import RegistryError
from kolm.files import AtomicFile, open_for_reading, read_bytes, staging, write_atomic
from kolm.receipt import MAX_BYTES as MAX_RECEIPT_BYTES
from kolm.receipt import Receipt
from kolm.tlog.note import MAX_BYTES as MAX_NOTE_BYTES
from registry.pulled import Paths, file_name, place
from registry.reader import MAX_TILE_BYTES, check_proof
from registry.schemas import ArtifactPage, ProblemDocument, Stored
from registry.settings import MAX_ARTIFACT_BYTES

CONNECT_SECONDS = 5
TRANSFER_SECONDS = 60
"""Longest silence during a transfer."""

VERIFY_SECONDS = 900
"""Longest wait for the answer to an upload: the registry verifies before it answers."""

CHUNK_BYTES = 1024 * 1024
MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_PORT = 65535

_HOST = re.compile(rb"[A-Za-z0-9._:-]+")

M = TypeVar("M", bound=BaseModel)


class RegistryClient:
    """Talks to one registry. Every failure is a RegistryError with the next step as its hint."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: httpx.Timeout | float | None = None,
        page_size: int = 200,
        max_artifact_bytes: int = MAX_ARTIFACT_BYTES,
    ) -> None:
        self.url = url.rstrip("/")
        self._page_size = page_size
        self._max_artifact_bytes = max_artifact_bytes
        self._http = httpx.Client(
            base_url=self._address(),
            # Uncompressed, so that an answer's Content-Length bounds what it unfolds to.
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {}),
            timeout=timeout or httpx.Timeout(TRANSFER_SECONDS, connect=CONNECT_SECONDS),
            # A proxy of the environment cannot reach this machine.
            trust_env=not _is_loopback(self._address().host),
        )

    def _address(self) -> httpx.URL:
        try:
            address = httpx.URL(self.url)
        except (httpx.InvalidURL, ValueError) as err:
            raise self._wrong_address(str(err)) from err
        if address.scheme not in {"http", "https"}:
            raise self._wrong_address("it does not begin with http:// or https://")
        if not _HOST.fullmatch(address.raw_host) or (address.port or 0) > MAX_PORT:
            raise self._wrong_address("it names no host and port")
        return address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def push(self, artifact: Path, receipt: Path, *, allow_failed: bool = False) -> dict[str, Any]:
        """Upload an artifact and its receipt and return the registry's answer.

        The CID goes with it, so that bytes changed on the way are noticed. Raises RegistryError,
        StorageError.
        """
        fields = {"cid": cid_of_file(artifact), "allow_failed": "true" if allow_failed else "false"}
        signed = read_bytes(receipt, what="receipt", max_bytes=MAX_RECEIPT_BYTES)
        with open_for_reading(artifact, what="artifact") as handle:
            files = {
                "artifact": ("artifact.kolm", handle, "application/octet-stream"),
                "receipt": ("receipt.json", signed, "application/json"),
            }
            waiting = httpx.Timeout(TRANSFER_SECONDS, connect=CONNECT_SECONDS, read=VERIFY_SECONDS)
            with self._request("POST", "/v1/artifacts", data=fields, files=files, timeout=waiting) as answer:
                stored = self._read(Stored, answer)
        if (stored.cid, stored.receipt) != (fields["cid"], cid_of(signed)):
            raise self._not_a_registry("it answered an upload with another CID")
        return stored.model_dump()

    def proof(self, cid: CID, *, receipt: CID) -> bytes | None:
        """Return the proof that a receipt is in the registry's log, or None. Raises RegistryError."""
        data = self._find(f"/v1/artifacts/{cid}/proof?receipt={receipt}", limit=2 * MAX_NOTE_BYTES)
        if data is not None:
            check_proof(data, artifact=cid, receipt=receipt)
        return data

    def fetch_log(self, path: str) -> bytes | None:
        """Return the bytes at a path of the registry's log, or None. Raises RegistryError."""
        return self._find(f"/tlog/{path}", limit=MAX_TILE_BYTES)

    def pull(self, cid: str, out: Path, *, overwrite: bool = False) -> Paths:
        """Fetch an artifact, its newest receipt, its log proof and its module manifest into `out`.

        The module manifest is taken from the artifact itself. A file in `out` with other content is
        refused unless `overwrite`. Raises RegistryError, StorageError, ArtifactError.
        """
        wanted = parse_cid(cid)
        with staging(out) as folder:
            self._fetch_artifact(wanted, folder / "artifact")
            receipt = self._fetch_receipt(wanted)
            write_atomic(folder / "receipt", receipt)
            proof = self.proof(wanted, receipt=cid_of(receipt))
            if proof is not None:
                write_atomic(folder / "proof", proof)
            artifact = Artifact.open(folder / "artifact")
            with artifact.container:
                write_atomic(folder / "modules", artifact.read("modules.json"))
                name = file_name(artifact.manifest.name, wanted)
            return place(folder, out, name=name, overwrite=overwrite)

    def search(self, *, limit: int | None = None, **filters: Any) -> list[dict[str, Any]]:
        """Return the artifacts that answer `filters`, newest first; all pages up to `limit`.

        Filters: base, family, name, frozen, trainable (a pattern or several), min_k. Raises RegistryError.
        """
        params = {key: value for key, value in filters.items() if value not in (None, [], ())}
        params["limit"] = min(limit or self._page_size, self._page_size)
        found: list[dict[str, Any]] = []
        while limit is None or len(found) < limit:
            with self._request("GET", "/v1/artifacts", params=params) as answer:
                page = self._read(ArtifactPage, answer)
            found += [item.model_dump() for item in page.items]
            if page.next is None or not page.items:
                break
            params["cursor"] = page.next
        return found[:limit]

    def _fetch_artifact(self, cid: CID, path: Path) -> None:
        with self._request("GET", f"/v1/artifacts/{cid}") as answer, AtomicFile(path) as handle:
            received = _copy(self._limited(answer, limit=self._largest(answer)), handle)
        if received != cid:
            raise _wrong_bytes("an artifact", wanted=cid, received=received)

    def _fetch_receipt(self, cid: CID) -> bytes:
        with self._request("GET", f"/v1/artifacts/{cid}/receipt") as answer:
            named = answer.headers.get("etag", "").strip('"')
            data = self._body(answer, limit=MAX_RECEIPT_BYTES)
        if cid_of(data) != named:
            raise _wrong_bytes("a receipt", wanted=named, received=cid_of(data))
        about = Receipt.parse(data).artifact
        if about != cid:
            raise RegistryError(f"the registry sent a receipt about {about}, not about {cid}", hint=_DISTRUST)
        return data

    def _find(self, path: str, *, limit: int) -> bytes | None:
        """Return what is at an address of at most `limit` bytes; None if there is nothing."""
        with self._request("GET", path, may_miss=True) as answer:
            return None if answer.status_code == httpx.codes.NOT_FOUND else self._body(answer, limit=limit)

    @contextmanager
    def _request(
        self, method: str, path: str, *, may_miss: bool = False, **options: Any
    ) -> Iterator[httpx.Response]:
        """Send a request and yield the answer, its body unread; every failure is a RegistryError."""
        try:
            with self._http.stream(method, path, **options) as answer:
                if answer.status_code >= 300 and not (may_miss and answer.status_code == 404):
                    raise self._refused(answer)
                yield answer
        except httpx.TimeoutException as err:
            raise RegistryError(
                f"{self.url}: no answer in time ({_words(err)})",
                hint="is the registry busy, or the address wrong? try again, or open /healthz there",
            ) from err
        except httpx.ConnectError as err:
            raise RegistryError(
                f"{self.url}: cannot connect ({_words(err)})",
                hint="check the address; `kolm registry serve` starts a registry and prints its own",
            ) from err
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as err:
            raise self._not_a_registry(f"the transfer failed: {_words(err)}") from err

    def _refused(self, answer: httpx.Response) -> RegistryError:
        if not answer.headers.get("content-type", "").startswith("application/problem+json"):
            return self._not_a_registry(f"it answered with status {answer.status_code}")
        problem = self._read(ProblemDocument, answer)
        slug = problem.type.removeprefix("urn:kolm:problem:")
        return RegistryError(
            f"{self.url}: {slug}: {problem.detail}", hint=problem.hint or _HINTS.get(slug, _ASK)
        )

    def _read(self, model: type[M], answer: httpx.Response) -> M:
        try:
            return model.model_validate_json(self._body(answer, limit=MAX_JSON_BYTES))
        except ValidationError as err:
            problem = err.errors(include_url=False)[0]
            place = ".".join(str(step) for step in problem["loc"]) or "its answer"
            raise self._not_a_registry(f"{place}: {problem['msg']}") from err

    def _body(self, answer: httpx.Response, *, limit: int) -> bytes:
        return b"".join(self._limited(answer, limit=limit))

    def _largest(self, answer: httpx.Response) -> int:
        """Return how many bytes an artifact's answer may have: what it says, if that is not too much."""
        declared = answer.headers.get("content-length", "")
        limit = int(declared[:20]) if declared.isdecimal() else self._max_artifact_bytes
        return min(limit, self._max_artifact_bytes)

    def _limited(self, answer: httpx.Response, *, limit: int) -> Iterator[bytes]:
        """Yield an answer's bytes; one that does not end is broken off."""
        received = 0
        for chunk in answer.iter_bytes(CHUNK_BYTES):
            received += len(chunk)
            if received > limit:
                raise self._not_a_registry(f"it sent more than {limit} bytes where less is due")
            yield chunk

    def _wrong_address(self, reason: str) -> RegistryError:
        return RegistryError(
            f"{self.url!r} is not the address of a registry: {reason}",
            hint="an address looks like http://127.0.0.1:8150",
        )

    def _not_a_registry(self, reason: str) -> RegistryError:
        return RegistryError(
            f"{self.url}: this does not look like a kolm registry: {reason}",
            hint='check the address: /healthz there should answer {"status":"ok"}',
        )


_DISTRUST = "do not use these files; tell whoever runs the registry, or ask another one"
_ASK = "the registry's answer says what is wrong; its log says more"
_HINTS = {
    "not_found": "check the CID with `kolm search`; it may be in another registry",
    "too_large": "the registry takes no uploads of this size; ask whoever runs it",
    "internal": "the registry failed; try again later or tell whoever runs it",
}


def _copy(chunks: Iterator[bytes], handle: BinaryIO) -> CID:
    """Write `chunks` and return the CID of what was written."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        handle.write(chunk)
    return cid_of_digest(digest.digest())


def _wrong_bytes(what: str, *, wanted: str, received: str) -> RegistryError:
    return RegistryError(
        f"the registry sent {what} with the CID {received}, not {wanted}; nothing was kept", hint=_DISTRUST
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words(err: Exception) -> str:
    return str(err) or type(err).__name__

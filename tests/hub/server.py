"""A hub on this machine: repositories with commits, branches, tags and licences to accept.

It answers the routes that huggingface_hub calls to fetch a model, in the words of the hub's own
answers: `X-Repo-Commit`, `ETag`, `X-Linked-Etag`, `X-Error-Code`. Large files are kept as Git LFS
keeps them and come from another host, the way a CDN serves them.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_valid"
"""The one token whose account exists; it has accepted no licence by itself."""

Files = Mapping[str, bytes]


def is_lfs(path: str) -> bool:
    """Say whether a file of this name is kept by Git LFS."""
    return path.endswith((".safetensors", ".bin", "tokenizer.json"))


def blob_id(content: bytes) -> str:
    """Return git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Repository:
    """A model repository: its commits by id, and what its branches and tags point at."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    readers: set[str] = field(default_factory=set)
    """Tokens whose accounts may read it."""

    def commit(self, files: Files, *refs: str) -> str:
        """Add a commit and let `refs` (default: main) point at it; returns its id."""
        listing = json.dumps(sorted((p, blob_id(c)) for p, c in files.items())) + str(len(self.commits))
        commit = hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = dict(files)
        self.refs |= dict.fromkeys(refs or ("main",), commit)
        return commit

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


def files_of(folder: Path) -> dict[str, bytes]:
    """Read a checkpoint folder as the files of a commit."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Hub:
    """A running hub. `with Hub() as hub: hub.add("org/name", files)`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.served: list[tuple[str, str, int]] = []
        """Method, path and bytes of the body of every answer."""
        self.sent: list[str] = []
        """Names of the files whose whole content was sent."""
        self.cut: set[str] = set()
        """Paths whose last bytes do not arrive."""
        self.swapped: dict[str, bytes] = {}
        """Contents that are sent in place of a path's own."""
        self.sizes: dict[str, int] = {}
        """Sizes that are claimed in place of a path's own."""
        self.broken: int | None = None
        """Status that every request is answered with."""

    def __enter__(self) -> "Hub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def cdn(self) -> str:
        return f"http://localhost:{self._server.server_port}/cdn"

    def add(self, name: str, files: Files, **settings: Any) -> str:
        """Publish a repository with one commit on main; returns the commit."""
        self.repositories[name] = Repository(**settings)
        return self.repositories[name].commit(files)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        path = urlsplit(self.path).path
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if self.hub.broken:
            self._refuse(self.hub.broken)
        elif parts[0] == "cdn":
            self._content(parts[1])
        elif (token := self._token()) not in (None, TOKEN):
            self._refuse(401, message="Invalid credentials in Authorization header")
        elif parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._api("/".join(parts[2:4]), parts[4:], token)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), token)
        else:
            self._refuse(404)

    def _token(self) -> str | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def _readable(self, name: str, token: str | None, *, content: bool) -> Repository | None:
        """Find a repository, or answer why not: its page may be seen before its licence is accepted."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and token not in repository.readers):
            self._refuse(404 if token else 401, code="RepoNotFound", message="Repository not found")
            return None
        if content and repository.gated and token not in repository.readers:
            self._refuse(
                403 if token else 401, code="GatedRepo", message=f"Access to model {name} is restricted."
            )
            return None
        return repository

    def _api(self, name: str, rest: list[str], token: str | None) -> None:
        repository = self._readable(name, token, content=False)
        if repository is None:
            return
        commit = repository.resolve(rest[1] if len(rest) > 1 else "main")
        if commit is None:
            self._refuse(404, code="RevisionNotFound", message=f"Invalid rev id: {rest[1]}")
            return
        listing = [self._entry(path, content) for path, content in repository.commits[commit].items()]
        if rest[:1] == ["tree"]:
            self._json([{"type": "file", **entry} for entry in listing])
        else:
            siblings = [
                {"rfilename": e["path"], "size": e["size"], "blobId": e["oid"]}
                | (
                    {"lfs": {"sha256": e["lfs"]["oid"], "size": e["size"], "pointerSize": 134}}
                    if "lfs" in e
                    else {}
                )
                for e in listing
            ]
            about = {
                "id": name,
                "private": repository.private,
                "gated": "manual" if repository.gated else False,
            }
            self._json({**about, "sha": commit, "siblings": siblings, "tags": [], "downloads": 0})

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        size = self.hub.sizes.get(path, len(content))
        if not is_lfs(path):
            return {"path": path, "size": size, "oid": blob_id(content)}
        digest = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
        lfs = {"oid": digest, "size": size, "pointerSize": len(pointer)}
        return {"path": path, "size": size, "oid": blob_id(pointer.encode()), "lfs": lfs}

    def _resolve(self, name: str, revision: str, path: str, token: str | None) -> None:
        repository = self._readable(name, token, content=True)
        if repository is None:
            return
        commit = repository.resolve(revision)
        if commit is None:
            self._refuse(404, code="RevisionNotFound", message=f"Invalid rev id: {revision}")
            return
        about = {"X-Repo-Commit": commit}
        if path not in repository.commits[commit]:
            self._refuse(404, code="EntryNotFound", message="Entry not found", **about)
            return
        content = repository.commits[commit][path]
        if is_lfs(path):
            digest = hashlib.sha256(content).hexdigest()
            about |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            place = f"{self.hub.cdn}/{name.replace('/', '--')}--{commit}--{path}"
            self._answer(302, b"", Location=place, **about)
        else:
            self._send(path, content, ETag=f'"{blob_id(content)}"', **about)

    def _content(self, place: str) -> None:
        """Serve a large file from where the hub redirected to; nobody sends a token here."""
        assert "Authorization" not in self.headers
        org, name, commit, path = place.split("--")
        self._send(path, self.hub.repositories[f"{org}/{name}"].commits[commit][path])

    def _send(self, path: str, content: bytes, **headers: str) -> None:
        """Serve bytes, a range of them where one is asked for (RFC 9110, 14.2)."""
        content = self.hub.swapped.get(path, content)
        if path in self.hub.cut and self.command == "GET":
            content = content[:-1]
        asked = self.headers.get("Range")
        if asked is None:
            self.hub.sent += [path] if self.command == "GET" else []
            self._answer(200, content, **{"Accept-Ranges": "bytes"}, **headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(content)), len(content) - 1)
        place = {"Content-Range": f"bytes {start}-{stop}/{len(content)}"}
        self._answer(206, content[start : stop + 1], **place, **headers)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def _refuse(self, status: int, *, code: str = "", message: str = "", **headers: str) -> None:
        about = ({"X-Error-Code": code} if code else {}) | ({"X-Error-Message": message} if message else {})
        self._answer(status, json.dumps({"error": message}).encode(), **about, **headers)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        self.hub.served.append((self.command, urlsplit(self.path).path, len(body)))


def _sibling(entry: dict[str, Any]) -> dict[str, Any]:
    """Say of a file what the tree says, in the words of the model's page."""
    about = {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
    if "lfs" in entry:
        about["lfs"] = {"sha256": entry["lfs"]["oid"], **entry["lfs"]}
    return about

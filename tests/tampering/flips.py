"""One flipped bit at a time: what is flipped, what it belongs to, and a publisher who signs it all again."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from kolm.artifact import MANIFEST, write_artifact
from kolm.canonical import canonical_json
from kolm.cid import cid_of, sha256_hex
from kolm.verify import AuditReport, verify_bundle
from tests.bundles import Bundle, Members
from tests.tampering.lies import Statements, chain, enveloped, payloads

Outcome = tuple[int, str | None] | None
"""Number and code of the first check that failed; None if the flip was believed."""

_RECEIPT = re.compile(rb'"(artifact|kind|keyid|payload|payloadType|sig)":"([^"]*)"')


def flipped(data: bytes, place: int, pattern: int) -> bytes:
    """Return the bytes with one of them changed."""
    return data[:place] + bytes([data[place] ^ pattern]) + data[place + 1 :]


def outcome(report: AuditReport) -> Outcome:
    """Return which check refused, and with which code."""
    return None if report.failure is None else (report.failure.number, report.failure.code)


def container_regions(data: bytes) -> list[str]:
    """Return for each byte of an artifact which record it belongs to."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        infos, directory = archive.infolist(), archive.start_dir
    regions = ["local header"] * directory + ["central directory"] * (len(data) - directory)
    for info in infos:
        start = info.header_offset + 30 + len(info.filename)
        regions[start : start + info.file_size] = ["member"] * info.file_size
    regions[-22:] = ["end record"] * 22
    return regions


def receipt_regions(data: bytes) -> list[str]:
    """Return for each byte of a receipt which value it belongs to."""
    regions = ["structure"] * len(data)
    for found in _RECEIPT.finditer(data):
        regions[slice(*found.span(2))] = [found[1].decode()] * len(found[2])
    return regions


def proof_regions(data: bytes) -> list[str]:
    """Return for each byte of a log proof which line it belongs to."""
    head, note = data.split(b"\n\n", 1)
    hashes = len(head.split(b"\n")) - 2
    names = ["first line", "index", *["hash"] * hashes, "blank", "origin", "size", "root", "blank"]
    names += ["signature", "signature with a time"]
    lines = data.splitlines(keepends=True)
    assert len(lines) == len(names)
    assert len(note.splitlines()) == 6
    return [name for name, line in zip(names, lines, strict=True) for _ in line]


@dataclass(frozen=True)
class Flip:
    """One changed byte of a member."""

    member: str
    place: int
    content: bytes


def member_flips(members: Members, *, step: int, pattern: int) -> Iterator[Flip]:
    """Yield a flip of every `step`th byte of all members."""
    count = 0
    for name, content in sorted(members.items()):
        assert isinstance(content, bytes)
        for place in range(len(content)):
            if count % step == 0:
                yield Flip(name, place, flipped(content, place, pattern))
            count += 1


@dataclass(frozen=True)
class Publisher:
    """Flips a bit of a member and makes everything around it anew: manifest, CID, statements, signatures."""

    bundle: Bundle
    path: Path
    """Where the artifact is written, again and again."""

    def publish(self, flip: Flip) -> Outcome:
        """Publish the flip and return what an audit says of it."""
        members: Members = {**self.bundle.members, flip.member: flip.content}
        manifest = self.bundle.facts.artifact.manifest
        write_artifact(
            self.path,
            members,
            name=manifest.name,
            task=manifest.task,
            family=manifest.family,
            base=manifest.base.model_dump(),
        )
        before = self.bundle.members[flip.member]
        assert isinstance(before, bytes)
        renamed = {sha256_hex(before): sha256_hex(flip.content), cid_of(before): cid_of(flip.content)}
        renamed |= self._artifact_names()
        receipt = self._receipt(renamed)
        base = self.bundle.base_dir
        report = verify_bundle(self.path, receipt, self.bundle.trust, base_dir=base, stop_at_first=True)
        return outcome(report)

    def _artifact_names(self) -> dict[str, str]:
        """Return old and fresh digests of the artifact and of its manifest."""
        old, fresh = self.bundle.artifact_path.read_bytes(), self.path.read_bytes()
        pairs = ((old, fresh), (_manifest(old), _manifest(fresh)))
        return {name(one): name(other) for one, other in pairs for name in (sha256_hex, cid_of)}

    def _receipt(self, renamed: dict[str, str]) -> bytes:
        """Return the receipt with other digests throughout, stages chained and everything signed again."""
        text = json.dumps(payloads(self.bundle.receipt))
        for old, fresh in renamed.items():
            text = text.replace(old, fresh)
        statements: Statements = json.loads(text)
        chain(statements)
        receipt = enveloped(self.bundle, [canonical_json(statement) for statement in statements])
        return receipt.replace(self.bundle.cid.encode(), cid_of(self.path.read_bytes()).encode())


def _manifest(artifact: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(artifact)) as archive:
        return archive.read(MANIFEST)


def changed_place(before: bytes, flip: Flip) -> str:
    """Say what a flip changed: the path of a value in JSON, the line in other text."""
    line = before.count(b"\n", 0, flip.place) + 1
    rows: Callable[[bytes], Any] = json.loads
    if flip.member.endswith(".jsonl"):
        rows = _rows
    try:
        paths = list(_differences(rows(before), rows(flip.content)))
    except ValueError:
        return f"line {line}"
    return paths[0] if len(paths) == 1 else f"line {line}"


def _rows(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def _differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the leaves in which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _differences(one[key], other[key], f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, f"{path}[{at}]")
    elif one != other:
        yield path

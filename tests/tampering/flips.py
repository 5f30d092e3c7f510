"""One flipped bit at a time: what is flipped, what it belongs to, and a publisher who signs it all again."""

import contextlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from kolm.artifact import MANIFEST, write_artifact
from kolm.canonical import canonical_json, parse_canonical, parse_canonical_lines
from kolm.cid import cid_of, sha256_hex
from kolm.dataset import parse_set
from kolm.errors import CheckedError, KolmError
from kolm.pack import pack_from_members
from kolm.schedule import passes
from kolm.trainlog import Chain, effective_seed
from kolm.verify import AuditReport, verify_bundle
from tests.bundles import Bundle, Members
from tests.tampering.lies import Statements, build, chain, enveloped, failed, payloads, read

Outcome = tuple[int, str | None] | None
"""Number and code of the first check that failed; None if the flip was believed."""

LOCK, LOG, SET = "spec.lock.json", "train/log.jsonl", "train/set.json"
COMMITTED = {"spec": "spec.yaml", "lock": LOCK, "set": SET}
"""Members that the training log commits to by their digests."""

_RECEIPT = re.compile(rb'"(artifact|kind|keyid|payload|payloadType|sig)":"([^"]*)"')


def flipped(data: bytes, place: int, pattern: int) -> bytes:
    """Return the bytes with one of them changed."""
    return data[:place] + bytes([data[place] ^ pattern]) + data[place + 1 :]


def outcome(report: AuditReport) -> Outcome:
    """Return which check refused, and with which code."""
    return None if report.ok else failed(report)


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
    """Flips a bit of a member and makes everything around it anew that follows from it.

    That is the effective seed, the training log with its commitments, its order of rows and its hashes, the
    manifest, the CID, the statements and the signatures. What anybody computes from them is left for the
    checks to find.
    """

    bundle: Bundle
    path: Path
    """Where the artifact is written, again and again."""

    def publish(self, flip: Flip) -> Outcome:
        """Publish the flip and return what an audit says of it."""
        members = self.made(flip)
        manifest = self.bundle.facts.artifact.manifest
        write_artifact(
            self.path,
            members,
            name=manifest.name,
            task=manifest.task,
            family=manifest.family,
            base=manifest.base.model_dump(),
        )
        receipt = self._receipt(members)
        base = self.bundle.base_dir
        report = verify_bundle(self.path, receipt, self.bundle.trust, base_dir=base, stop_at_first=True)
        return outcome(report)

    def made(self, flip: Flip) -> Members:
        """Return all members, with the flipped one and those that commit to it."""
        members: Members = {**self.bundle.members, flip.member: flip.content}
        lock = _document(read(members, LOCK))
        if lock is not None:
            root = sha256_hex(read(members, SET))
            lock["seed"]["effective"] = effective_seed(lock["seed"]["spec"], root=root)
            members[LOCK] = canonical_json(lock)
        members[LOG] = _chained(members, told=flip.member == LOG)
        return members

    def undone(self, flip: Flip) -> bool:
        """Say whether the flip was of something that is made anew, so that nothing is left of it."""
        return self.made(flip) == self.bundle.members

    def _receipt(self, members: Members) -> bytes:
        """Return the receipt with other digests throughout, stages chained and everything signed again."""
        changed = [name for name in members if members[name] != self.bundle.members[name]]
        pairs = [(read(self.bundle.members, name), read(members, name)) for name in changed]
        old, fresh = self.bundle.artifact_path.read_bytes(), self.path.read_bytes()
        pairs += [(old, fresh), (_manifest(old), _manifest(fresh))]
        text = json.dumps(payloads(self.bundle.receipt))
        for one, other in pairs:
            text = text.replace(sha256_hex(one), sha256_hex(other)).replace(cid_of(one), cid_of(other))
        statements: Statements = json.loads(text)
        lock = _document(read(members, LOCK))
        if lock is not None:
            build(statements)["internalParameters"]["seed"] = lock["seed"]["effective"]
        chain(statements)
        receipt = enveloped(self.bundle, [canonical_json(statement) for statement in statements])
        return receipt.replace(self.bundle.cid.encode(), cid_of(fresh).encode())


def _document(data: bytes) -> dict[str, Any] | None:
    """Return a lock that can be read and has a seed; None for one that a flip made unreadable."""
    try:
        value = parse_canonical(data, what="lock")
        effective_seed(value["seed"]["spec"], root="")
    except (CheckedError, KeyError, TypeError):
        return None
    return dict(value)


def _chained(members: Members, *, told: bool) -> bytes:
    """Return the log with its hashes made anew; unless it was `told` otherwise, it commits to the members."""
    data = read(members, LOG)
    try:
        first, *rest = parse_canonical_lines(data, what="log")
        commitment = first["commitment"] if told else first["commitment"] | _committed(members)
        log = Chain(commitment)
        if first.keys() != log.lines[0].keys() or first["kind"] != log.lines[0]["kind"]:
            return data
        orders = None if told else _orders(members, seed=commitment["seed"])
        for line in rest:
            if "hash" not in line:
                return data
            record = {key: value for key, value in line.items() if key != "hash"}
            log.append(record | {"rows": next(orders)} if orders and "rows" in record else record)
    except (CheckedError, KeyError, TypeError, ValueError):
        return data
    return log.to_bytes()


def _orders(members: Members, *, seed: int) -> Iterator[list[str]]:
    """Yield the rows of each pass, which is one step here, as set and seed give them."""
    ids = [row.id for row in parse_set(read(members, SET)).rows]
    return ([ids[place] for place in order] for order in passes(len(ids), seed=seed))


def _committed(members: Members) -> dict[str, Any]:
    """Return what the log commits to, as far as the members can be read."""
    found = {key: sha256_hex(read(members, name)) for key, name in COMMITTED.items()}
    with contextlib.suppress(KolmError):
        found["pack"] = pack_from_members(lambda name: read(members, name)).digest
    lock = _document(read(members, LOCK))
    return found if lock is None else {**found, "seed": lock["seed"]["effective"]}


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

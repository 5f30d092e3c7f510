"""The artifact: what a compile produced, in bytes that depend on nothing but its inputs.

The format is specs/formats/artifact.md. The container is `kolm.container`'s strict ZIP; this module
knows which members an artifact has, what each is for, and the two documents that describe them:
`manifest.json` (what is inside, and which base it needs) and `spec.lock.json` (`kolm.lock`).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import CID, sha256_hex, sha256_hex_of_file
from kolm.container import Container, write_container
from kolm.errors import ArtifactError, VerificationError
from kolm.lock import Base, Lock
from kolm.modules import ModuleManifest
from kolm.schema import Closed, Count, Hex, read_model

Role = Literal[
    "spec",
    "lock",
    "adapter",
    "weights",
    "processor",
    "modules",
    "set",
    "log",
    "pack",
    "pack-rows",
    "image",
    "pixels",
    "rows",
]

MANIFEST = "manifest.json"

_FIXED: dict[str, Role] = {
    "spec.yaml": "spec",
    "spec.lock.json": "lock",
    "modules.json": "modules",
    "train/set.json": "set",
    "train/log.jsonl": "log",
    "eval/pack.yaml": "pack",
    "eval/pack.jsonl": "pack-rows",
    "eval/rows.jsonl": "rows",
}
"""The members every artifact has; besides them what was trained, processor files and eval images."""

ADAPTER = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors")
WEIGHTS = "weights/model.safetensors"

_TRAINED: dict[str, Role] = {ADAPTER[0]: "adapter", ADAPTER[1]: "adapter", WEIGHTS: "weights"}
"""What was trained: an adapter, or weights where no part got LoRA factors; never both."""

_WITHHELD: dict[str, Role] = {"eval/images.json": "pixels"}
"""Stands in for the pictures of a pack that withholds them (specs/formats/pack.md 5)."""

_OPEN: tuple[tuple[re.Pattern[str], Role], ...] = (
    (re.compile(r"processor/[a-z0-9._-]+\.(?:json|txt|jinja|model)", re.ASCII), "processor"),
    (re.compile(r"eval/images/[0-9a-f]{64}\.[a-z0-9]+", re.ASCII), "image"),
)


PROCESSOR_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tiktoken.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Files of a base that turn images and text into tensors: those it has travel in the artifact."""

_MANIFEST_BYTES = 1 << 20
_ROW_BYTES = 512
"""Most of `manifest.json`: a name has at most 255 bytes, and the base's files are few."""

LOCK_BYTES = 16 << 20
"""Most of `spec.lock.json`, and of the adapter's config, which names the same modules."""


class Member(Closed):
    """One member other than the manifest itself."""

    path: str
    bytes: Count
    sha256: Hex
    role: Role


class Manifest(Closed):
    """`manifest.json`: what the artifact holds and which base it needs."""

    kind: Literal["kolm-artifact/1"]
    name: str
    task: str
    family: str
    base: Base
    members: list[Member]


@dataclass(frozen=True)
class Artifact:
    """An artifact that could be read; whether it is right is for `kolm.verify` to say."""

    container: Container

    @classmethod
    def open(cls, source: Path | bytes) -> "Artifact":
        """Read a container strictly. Raises ArtifactError."""
        return cls(Container.open(source))

    @property
    def cid(self) -> CID:
        """The artifact's identity: the CID of its exact bytes."""
        return self.container.cid

    def read(self, name: str) -> bytes:
        """Return a member's bytes. Raises ArtifactError (E_MEMBER_MISSING)."""
        return self.container.read(name)

    def members(self, *roles: Role) -> list[str]:
        """Return the names of the members with these roles, in the container's order."""
        return [name for name in self.container.names if name != MANIFEST and role_of(name) in roles]

    @cached_property
    def manifest(self) -> Manifest:
        """The parsed `manifest.json`. Raises ArtifactError."""
        most = _MANIFEST_BYTES + _ROW_BYTES * len(self.container.names)
        data = self.container.read(MANIFEST, max_bytes=most)
        return read_model(Manifest, parse_canonical(data, what=MANIFEST), what=MANIFEST)

    @cached_property
    def lock(self) -> Lock:
        """The parsed `spec.lock.json`. Raises ArtifactError."""
        name = "spec.lock.json"
        data = self.container.read(name, max_bytes=LOCK_BYTES)
        return read_model(Lock, parse_canonical(data, what=name), what=name)

    @cached_property
    def modules(self) -> ModuleManifest:
        """The parsed `modules.json`. Raises ArtifactError."""
        return ModuleManifest.parse(self.read("modules.json"))


def role_of(path: str) -> Role:
    """Return what a member is for. Raises ArtifactError for a member that no artifact has.

    Code, pickles and anything unknown have no role (specs/formats/artifact.md 2).
    """
    known = _FIXED | _TRAINED | _WITHHELD
    if path in known:
        return known[path]
    for pattern, role in _OPEN:
        if pattern.fullmatch(path):
            return role
    raise ArtifactError(
        f"{path!r} has no place in an artifact",
        check="E_POLICY_CODE" if path.startswith("processor/") else "E_MEMBER_UNLISTED",
        hint="specs/formats/artifact.md 2 lists the members; code and pickled weights are never among them.",
    )


def write_artifact(
    path: Path,
    members: Mapping[str, bytes | Path],
    *,
    name: str,
    task: str,
    family: str,
    base: Mapping[str, Any],
) -> CID:
    """Write an artifact from its members, adding `manifest.json`, and return its CID.

    Raises ArtifactError for a missing or unknown member, StorageError when the disk refuses.
    """
    missing = _missing(members)
    if missing:
        raise ArtifactError(f"the artifact lacks {', '.join(missing)}", check="E_MEMBER_MISSING")
    manifest = {
        "kind": "kolm-artifact/1",
        "name": name,
        "task": task,
        "family": family,
        "base": dict(base),
        "members": [_described(member, members[member]) for member in sorted(members)],
    }
    read_model(Manifest, manifest, what=MANIFEST)
    return write_container(path, {MANIFEST: canonical_json(manifest), **members})


def check_members(artifact: Artifact) -> None:
    """Check the members against the manifest, both ways (specs/formats/artifact.md 3).

    Raises ArtifactError or VerificationError: E_MEMBER_MISSING, E_MEMBER_UNLISTED, E_MEMBER_DIGEST,
    E_POLICY_CODE, E_SCHEMA.
    """
    listed = [member.path for member in artifact.manifest.members]
    present = [name for name in artifact.container.names if name != MANIFEST]
    if listed != sorted(set(listed)):
        raise VerificationError("manifest.json does not list its members once each, sorted", check="E_SCHEMA")
    _none_of(sorted(set(present) - set(listed)), "not in manifest.json", check="E_MEMBER_UNLISTED")
    absent = {*(set(listed) - set(present)), *_missing(present)}
    _none_of(sorted(absent), "missing", check="E_MEMBER_MISSING")
    both = WEIGHTS in present and any(name in present for name in ADAPTER)
    _none_of([WEIGHTS] if both else [], "stands beside an adapter", check="E_MEMBER_UNLISTED")
    wrong_role = [member.path for member in artifact.manifest.members if member.role != role_of(member.path)]
    _none_of(wrong_role, "listed with another role", check="E_SCHEMA")
    seen = {name: (artifact.container.size(name), artifact.container.sha256(name)) for name in present}
    wrong = [
        member.path
        for member in artifact.manifest.members
        if seen[member.path] != (member.bytes, member.sha256)
    ]
    _none_of(wrong, "not the bytes that manifest.json lists", check="E_MEMBER_DIGEST")
    _check_processor(artifact)


def _missing(present: Collection[str]) -> list[str]:
    """Members that an artifact needs and these are not; weights stand in for the two adapter files."""
    needed = [*_FIXED, *(() if WEIGHTS in present else ADAPTER)]
    return sorted(name for name in needed if name not in present)


def _check_processor(artifact: Artifact) -> None:
    """The processor's files are the base's own, and all it has: another tokenizer would be another model."""
    base = {file.path: file.sha256 for file in artifact.manifest.base.files}
    if [file.path for file in artifact.manifest.base.files] != sorted(base):
        raise VerificationError(
            "manifest.json does not list the base's files once each, sorted", check="E_SCHEMA"
        )
    foreign = [
        name
        for name in artifact.members("processor")
        if base.get(name.removeprefix("processor/")) != artifact.container.sha256(name)
    ]
    _none_of(foreign, "not the base's file of this name", check="E_MEMBER_DIGEST")
    left_out = {f"processor/{name}" for name in base if name in PROCESSOR_FILES}
    left_out -= set(artifact.members("processor"))
    _none_of(sorted(left_out), "missing, though the base has it", check="E_MEMBER_MISSING")


def _none_of(names: list[str], defect: str, *, check: str) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise VerificationError(f"{names[0]}{more}: {defect}", check=check)


def _described(path: str, content: bytes | Path) -> dict[str, Any]:
    if isinstance(content, bytes):
        digest, size = sha256_hex(content), len(content)
    else:
        digest, size = sha256_hex_of_file(content), content.stat().st_size
    return {"path": path, "bytes": size, "sha256": digest, "role": role_of(path)}

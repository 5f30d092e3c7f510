"""Packs inside an artifact: the yaml as it was written, canonical rows, and pictures named by their digest.

A pack that withholds its pictures leaves their pixel digests in their place (specs/formats/pack.md 5).
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from kolm.canonical import canonical_json, parse_canonical, parse_canonical_lines
from kolm.cid import CID, cid_of_digest, digest_of, sha256_hex
from kolm.errors import ArtifactError
from kolm.gallery import Gallery
from kolm.images import SUFFIXES, media_type
from kolm.pack.model import EvalPack, PackRow, assembled, checked, head_of, image_name, rows_member
from kolm.rows import refused
from kolm.schema import Closed, read_model

PIXELS = "eval/images.json"
"""Member with the pixel digests of pictures that are withheld."""

_MEMBER = re.compile(r"images/([0-9a-f]{64})\.([a-z]+)\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")


class _Row(Closed):
    """One line of the artifact's eval/pack.jsonl."""

    id: str
    image: list[str]
    prompt: str
    gold: Annotated[list[str], Field(min_length=1)]
    slice: str
    group: Annotated[str, Field(min_length=1)] = ""


def pack_members(pack: EvalPack) -> dict[str, bytes]:
    """Return the pack as members of an artifact, by name.

    A pack that withholds its pictures gives their pixel digests instead. Raises DataError when a picture
    has changed.
    """
    members = {"eval/pack.yaml": pack.yaml_bytes, "eval/pack.jsonl": rows_member(pack)}
    if pack.withhold is None:
        return members | {f"eval/{image_name(pack, cid)}": pack.image_bytes(cid) for cid in pack.images}
    pixels = {digest_of(cid).hex(): pack.gallery.pixels(cid) for cid in pack.images}
    return members | {PIXELS: canonical_json(pixels)}


def pack_from_members(read: Callable[[str], bytes]) -> EvalPack:
    """Read a pack from an artifact's members, trusting none of them.

    Raises DataError for a pack that breaks its rules, ArtifactError for rows that are not canonical, and
    whatever `read` raises for a missing member.
    """
    yaml = read("eval/pack.yaml")
    head = head_of(yaml, name="eval/pack.yaml")
    gallery = Gallery(root=Path("eval"))
    pixels = None if head.withhold is None else _pixels(read(PIXELS))
    rows: dict[str, PackRow] = {}
    pictures: dict[str, CID] = {}  # a member is read once, however often rows name it
    what = "eval/pack.jsonl"
    member = read(what)
    for number, value in enumerate(parse_canonical_lines(member, what=what), start=1):
        row = read_model(_Row, value, what=f"{what} line {number}")
        if row.id in rows:
            raise refused(f"{what} line {number}: id {row.id!r} stands there twice")
        for name in row.image:
            if name not in pictures:
                pictures[name] = _member_image(name, read, gallery, pixels)
        images = tuple(pictures[name] for name in row.image)
        read_row = PackRow(row.id, images, row.prompt, tuple(row.gold), row.slice, row.group or None)
        rows[row.id] = checked(read_row, head)
    pack = assembled(head, yaml, list(rows.values()), gallery)
    if pixels is not None and rows_member(pack) != member:
        raise ArtifactError(f"{what} gives one picture two kinds", check="E_MEMBER_DIGEST")
    if pixels is not None and pixels.keys() != {digest_of(cid).hex() for cid in pack.images}:
        raise ArtifactError(f"{PIXELS} lists a picture that no row shows", check="E_MEMBER_UNLISTED")
    return pack


def _member_image(
    name: str, read: Callable[[str], bytes], gallery: Gallery, withheld: Mapping[str, str] | None
) -> CID:
    match = _MEMBER.match(name)
    if match is None:
        raise refused(f"{name[:80]!r} is not images/<sha256>.<suffix>")
    if withheld is not None:
        if match[1] not in withheld or match[2] not in SUFFIXES:
            raise ArtifactError(f"{PIXELS} does not list the picture {name}", check="E_MEMBER_MISSING")
        return gallery.withhold(
            cid_of_digest(bytes.fromhex(match[1])), pixels=withheld[match[1]], suffix=match[2]
        )
    data = read(f"eval/{name}")
    if sha256_hex(data) != match[1] or media_type(data, what=name)[1] != match[2]:
        raise ArtifactError(f"eval/{name} does not hold the picture it is named for", check="E_MEMBER_DIGEST")
    return gallery.add(data)


def _pixels(data: bytes) -> dict[str, str]:
    """Read the pixel digests of withheld pictures, by the digests of their bytes. Raises ArtifactError."""
    found = parse_canonical(data, what=PIXELS)
    if not isinstance(found, dict) or not all(
        isinstance(digest, str) and _HEX.match(digest) for digest in (*found, *found.values())
    ):
        raise ArtifactError(f"{PIXELS} does not map digests to digests", check="E_SCHEMA")
    return found

"""Eval packs: questions about pictures with known answers, in slices that each name a metric.

A pack is a `pack.yaml`, a JSON Lines file of rows and picture files (specs/formats/pack.md). Inside an
artifact the yaml stays as it was written, rows are canonical and pictures are named by their digest.
"""

from kolm.pack.files import load_pack, write_pack
from kolm.pack.members import PIXELS, pack_from_members, pack_members
from kolm.pack.model import EvalPack, PackRow, Slice, pack_of

__all__ = [
    "PIXELS",
    "EvalPack",
    "PackRow",
    "Slice",
    "load_pack",
    "pack_from_members",
    "pack_members",
    "pack_of",
    "write_pack",
]

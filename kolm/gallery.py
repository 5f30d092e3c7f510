"""Pictures of a data set or pack, by the CID of their original bytes.

A picture is decoded once when it comes in, so that every CID in a gallery is a picture that can be shown.
Files stay where they are and are read again, and checked again, whenever their bytes are asked for.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from kolm.captures import Captures
from kolm.cid import CID, cid_of
from kolm.errors import ArtifactError, DataError, StorageError
from kolm.files import read_bytes
from kolm.images import LIMITS, ImageLimits, media_type, open_image, pixel_digest, to_png

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*\Z")
_LONGEST_PATH = 4096


class Gallery:
    """Pictures that can be shown, each known by its CID."""

    def __init__(self, *, root: Path, limits: ImageLimits = LIMITS) -> None:
        self._root = root
        self._limits = limits
        self._sources: dict[CID, bytes | Path] = {}
        self._pixels: dict[CID, str] = {}
        self._suffixes: dict[CID, str] = {}
        self._read: dict[Path, CID] = {}

    def __contains__(self, cid: object) -> bool:
        return cid in self._sources

    def __iter__(self) -> Iterator[CID]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, value: Any) -> CID:
        """Take a picture in: a path, a base64 string or data URL, bytes, or a Pillow image.

        Paths are relative to the gallery's root; a Pillow image is kept as PNG. Raises DataError.
        """
        if isinstance(value, Image.Image):
            return self._keep(to_png(value))
        if isinstance(value, bytes):
            return self._keep(value)
        if isinstance(value, Path):
            return self._from_file(value)
        if not isinstance(value, str) or not value.strip():
            raise DataError("no image", hint="name a picture file, or give its bytes in base64")
        return self._from_text(value.strip())

    def add_captured(self, cid: CID, *, captures: Captures) -> CID:
        """Take in a picture of the capture store. Raises DataError when it is not there, or changed."""
        if cid not in self._sources:
            path = captures.blob(cid)
            if not path.is_file():
                raise DataError(f"image {cid} is not in the capture store", hint="kolm capture add stores it")
            self._sources[cid] = path
        return cid

    def withhold(self, cid: CID, *, pixels: str, suffix: str) -> CID:
        """Take note of a picture that is not here: its encoding and pixel digest are known, not its bytes."""
        self._pixels[cid], self._suffixes[cid] = pixels, suffix
        return cid

    def data(self, cid: CID) -> bytes:
        """Return a picture's original bytes. Raises DataError when it is withheld or its file has changed."""
        if cid not in self._sources and cid in self._pixels:
            raise DataError(
                f"picture {cid} is withheld: the artifact names it and does not hold it",
                hint="whoever has the eval pack has the picture; give the pack itself, --pack PACK",
            )
        source = self._sources[cid]
        if isinstance(source, bytes):
            return source
        data = self._file_bytes(source)
        if cid_of(data) != cid:
            raise DataError(f"{source} has changed: it is not {cid}", hint="put the picture back as it was")
        return data

    def suffix(self, cid: CID) -> str:
        """Return the file suffix of a picture's encoding: png, jpg, webp, gif or bmp. Raises DataError."""
        if cid not in self._suffixes:
            self._suffixes[cid] = media_type(self.data(cid))[1]
        return self._suffixes[cid]

    def image(self, cid: CID) -> Image.Image:
        """Return a picture's upright RGB pixels. Raises DataError."""
        return open_image(self.data(cid), what=f"image {cid}", limits=self._limits)

    def pixels(self, cid: CID) -> str:
        """Return the pixel digest of a picture (`kolm.images.pixel_digest`). Raises DataError."""
        if cid not in self._pixels:
            self._pixels[cid] = pixel_digest(self.image(cid))
        return self._pixels[cid]

    def _from_text(self, text: str) -> CID:
        embedded = _DATA_URL.match(text)
        if embedded:
            return self._keep(_decoded(text[embedded.end() :]))
        if text.startswith("data:") or _URL.match(text):
            raise DataError(
                f"{text[:80]!r} is a URL, and URLs are not fetched", hint="download the picture first"
            )
        if len(text) <= _LONGEST_PATH and "\0" not in text and self._is_path(text):
            return self._from_file(Path(text))
        if len(text) >= 32 and _BASE64.match(text):
            return self._keep(_decoded(text))
        raise DataError(f"no such image file: {text[:200]}", hint=f"paths are relative to {self._root}")

    def _is_path(self, text: str) -> bool:
        try:
            return (self._root / text).exists()
        except OSError:
            return False  # a name longer than the file system allows: base64, or nothing

    def _from_file(self, path: Path) -> CID:
        place = self._root / path
        if place not in self._read:
            data = self._file_bytes(place)
            self._read[place] = self._keep(data, what=str(path), source=place)
        return self._read[place]

    def _file_bytes(self, path: Path) -> bytes:
        try:
            return read_bytes(path, what="image", max_bytes=self._limits.max_bytes)
        except (StorageError, ArtifactError) as err:
            raise DataError(err.message, hint=err.hint) from err

    def _keep(self, data: bytes, *, what: str = "embedded image", source: Path | None = None) -> CID:
        cid = cid_of(data)
        if cid not in self._sources:
            image = open_image(data, what=what, limits=self._limits)
            self._pixels[cid] = pixel_digest(image)
            self._suffixes[cid] = media_type(data)[1]
            self._sources[cid] = source or data
        return cid


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as err:
        raise DataError(
            f"the image is not base64: {err}", hint="encode the picture's bytes in base64"
        ) from err

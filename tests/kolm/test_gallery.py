import base64
from pathlib import Path

import pytest
from PIL import Image

from kolm.captures import Captures
from kolm.cid import cid_of
from kolm.errors import DataError
from kolm.gallery import Gallery
from kolm.images import ImageLimits, pixel_digest
from tests.pictures import png_of, write_png

DATA = png_of("red")
CID = cid_of(DATA)
BASE64 = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "value",
    [
        "red.png",
        Path("red.png"),
        DATA,
        BASE64,
        f"  {BASE64[:40]}\n{BASE64[40:]}",
        f"data:image/png;base64,{BASE64}",
    ],
    ids=["path text", "path", "bytes", "base64", "base64 in lines", "data url"],
)
def test_every_way_to_give_a_picture_gives_the_same_cid(value: object, tmp_path: Path) -> None:
    write_png(tmp_path / "red.png", "red")
    gallery = Gallery(root=tmp_path)
    assert gallery.add(value) == CID
    assert gallery.data(CID) == DATA
    assert (list(gallery), len(gallery), CID in gallery) == ([CID], 1, True)


def test_pillow_image_keeps_its_pixels_upright() -> None:
    sideways = Image.new("RGB", (4, 2), "blue")
    exif = sideways.getexif()
    exif[0x0112] = 6
    gallery = Gallery(root=Path())
    shown = gallery.image(gallery.add(sideways))
    assert (shown.size, shown.getpixel((0, 0))) == ((2, 4), (0, 0, 255))


def test_pixels_and_suffix_are_those_of_the_picture(tmp_path: Path) -> None:
    gallery = Gallery(root=tmp_path)
    cid = gallery.add(DATA)
    assert gallery.pixels(cid) == pixel_digest(Image.new("RGB", (8, 8), "red"))
    assert gallery.suffix(cid) == "png"


REFUSED = {
    "none": (None, "no image"),
    "blank": ("  ", "no image"),
    "missing file": ("gone.png", "no such image file: gone.png"),
    "missing file without suffix": ("gone", "no such image file"),
    "folder": (".", "not a plain file"),
    "web address": ("https://example.org/x.png", "URLs are not fetched"),
    "file address": ("file:///etc/hostname", "URLs are not fetched"),
    "data url of text": ("data:text/plain,hello", "URLs are not fetched"),
    "data url with broken base64": ("data:image/png;base64,####", "not base64"),
    "base64 of something else": (base64.b64encode(b"x" * 99).decode(), "not a picture"),
    "NUL in a name": ("a\0b.png", "no such image file"),
    "endless name": ("x." * 5000, "no such image file"),
    "text file named png": ("text.png", "text.png: not a picture"),
    "too many bytes": ("large.png", "large.png has 1001 bytes"),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_picture_is_refused_with_its_reason(value: object, reason: str, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello\n" * 10)
    (tmp_path / "large.png").write_bytes(DATA + b"\0" * (1001 - len(DATA)))
    with pytest.raises(DataError, match=reason) as caught:
        Gallery(root=tmp_path, limits=ImageLimits(max_bytes=1000)).add(value)
    assert caught.value.hint


def test_picture_that_changes_after_it_was_taken_in_is_refused(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", "red")
    gallery = Gallery(root=tmp_path)
    cid = gallery.add("a.png")
    write_png(path, "blue")
    with pytest.raises(DataError, match="has changed"):
        gallery.data(cid)


def test_captured_picture_is_found_by_its_cid(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    captures.blob(CID).parent.mkdir()
    captures.blob(CID).write_bytes(DATA)
    gallery = Gallery(root=tmp_path)
    assert gallery.data(gallery.add_captured(CID, captures=captures)) == DATA
    assert gallery.suffix(CID) == "png"
    assert gallery.pixels(CID) == pixel_digest(Image.new("RGB", (8, 8), "red"))
    with pytest.raises(DataError, match="not in the capture store"):
        gallery.add_captured(cid_of(b"other"), captures=captures)

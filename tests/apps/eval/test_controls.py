"""What each output is shown."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from apps.eval.controls import kinds, partners, shown
from kolm.cid import sha256_hex
from kolm.draws import PERTURBATIONS, perturbation
from kolm.gallery import Gallery
from kolm.images import pixel_digest
from kolm.pack import EvalPack, PackRow, pack_of
from tests.apps.eval.packs import make_pack
from tests.pictures import two_tone


@pytest.fixture(scope="module")
def pack() -> EvalPack:
    """Pictures of several sizes, two in one row, none in another."""
    gallery = Gallery(root=Path())
    pictures = [
        gallery.add(two_tone(40 + 20 * n, 50, colour)) for n, colour in enumerate(("red", "blue", "green"))
    ]
    shows = [*([picture] for picture in pictures * 6), pictures[:2], [], pictures[1:]]
    rows = [PackRow(f"q{n}", tuple(images), f"What is {n}?", ("4",), "all") for n, images in enumerate(shows)]
    return pack_of(name="sizes", rows=rows, gallery=gallery)


def digests(images: tuple[Image.Image, ...]) -> list[str]:
    return [pixel_digest(image) for image in images]


@pytest.mark.parametrize("kind", ["base", "tuned"])
def test_both_models_are_shown_the_row(kind: str, pack: EvalPack):
    for row in pack.rows:
        question = shown(kind, row, pack, partner=row)
        assert question.turns == row.turns
        assert digests(question.images) == [pack.gallery.pixels(cid) for cid in row.images]


def test_the_grey_control_shows_grey_of_the_same_sizes(pack: EvalPack):
    for row in pack.rows:
        question = shown("grey", row, pack, partner=row)
        assert question.turns == row.turns
        assert [image.size for image in question.images] == [pack.image(cid).size for cid in row.images]
        assert all(
            image.getcolors() == [(image.width * image.height, (128,) * 3)] for image in question.images
        )


def test_the_shuffled_control_asks_the_row_about_its_partners_pictures(pack: EvalPack):
    found = partners(pack)
    for row in pack.rows:
        question = shown("shuffled", row, pack, partner=found[row.id])
        assert question.turns == row.turns
        assert digests(question.images) == [pack.gallery.pixels(cid) for cid in found[row.id].images]
        assert len(question.images) == len(row.images)
        assert not row.images or found[row.id].images != row.images


def test_a_perturbed_row_is_changed_as_drawn_and_a_little(pack: EvalPack):
    seen = set()
    for row in pack.rows:
        question = shown("perturbed", row, pack, partner=row)
        how = perturbation(pack.digest, row.id, has_image=bool(row.images))
        seen.add(how)
        own = [pack.image(cid) for cid in row.images]
        same = digests(question.images) == digests(tuple(own))
        assert (question.turns == row.turns) == (how != "space")
        assert question.turns[0].text.strip() == row.prompt
        assert same == (how == "space")
        for image, before in zip(question.images, own, strict=True):
            factor = 0.98 if how == "resize" else 1
            assert image.size == tuple(round(side * factor) for side in before.size)
            middle = [
                picture.getpixel((picture.width - 3, picture.height - 3)) for picture in (image, before)
            ]
            assert all(abs(a - b) < 12 for a, b in zip(*middle, strict=True))
    assert seen == set(PERTURBATIONS)


def test_partners_are_the_same_each_time_and_never_show_the_own_picture(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", [10, 10, 10, 20, 30])
    assert partners(pack) == partners(pack)
    own = {row.id: row.images for row in pack.rows}
    assert all(partner.images != own[row_id] for row_id, partner in partners(pack).items())


def test_a_partner_is_the_next_in_the_ring_with_as_many_pictures_that_are_not_the_own(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", [10, 20, 10, 10, 20, 30, 10, 10])
    pack = replace(pack, rows=(*pack.rows, replace(pack.rows[0], id="textual", images=())))
    ring = sorted(pack.rows, key=lambda row: sha256_hex(f"{pack.digest} {row.id}".encode()))
    for place, row in enumerate(ring):
        rest = (*ring[place + 1 :], *ring[:place])
        fit = [r for r in rest if len(r.images) == len(row.images) and r.images != row.images]
        assert partners(pack)[row.id] == (fit[0] if fit else row)


def test_a_pack_with_one_picture_has_nothing_to_shuffle(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", [10, 10])
    assert partners(pack) == {row.id: row for row in pack.rows}


def test_blind_controls_belong_to_models_that_see():
    assert kinds(sees_images=True) == ("base", "tuned", "grey", "shuffled", "perturbed")
    assert kinds(sees_images=False) == ("base", "tuned", "perturbed")

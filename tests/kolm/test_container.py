import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.cid import cid_of, cid_of_file
from kolm.container import Container, Zip64, write_container
from kolm.errors import ArtifactError, StorageError
from kolm.tensors import read_tensors
from tests.kolm.hostile_zips import GOOD, HOSTILE, A, B, M

MEMBERS = {name.decode(): data for name, data in (B, A, M)}
SMALL = Zip64(size=40, count=3)
"""Thresholds low enough for 64-bit records in a file of a few hundred bytes."""


def refusal_of(source: Path | bytes, **options: object) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        Container.open(source, **options)
    assert caught.value.hint
    return caught.value


def written(tmp_path: Path, members: dict[str, bytes | Path], **options: object) -> bytes:
    cid = write_container(tmp_path / "x.kolm", members, **options)
    assert cid == cid_of_file(tmp_path / "x.kolm")
    return (tmp_path / "x.kolm").read_bytes()


PART = st.text("abcXYZ019._-", min_size=1, max_size=6).filter(lambda part: not part.endswith("."))
NAMES = st.lists(PART, min_size=1, max_size=3).map("/".join)


@st.composite
def member_sets(draw: st.DrawFn) -> dict[str, bytes]:
    found: dict[str, bytes] = {"manifest.json": draw(st.binary(max_size=20))}
    for name in draw(st.lists(NAMES, max_size=5)):
        taken = {other.casefold() for other in found}
        folded = name.casefold()
        nested = any(other.startswith(folded + "/") or folded.startswith(other + "/") for other in taken)
        if folded not in taken and not nested:
            found[name] = draw(st.binary(max_size=60))
    return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@given(members=member_sets(), low=st.booleans())
def test_what_was_written_is_read_and_zipfile_agrees(workplace, members, low):
    zip64 = SMALL if low else Zip64()
    data = written(workplace, members, zip64=zip64)
    with Container.open(data, zip64=zip64) as container:
        assert container.cid == cid_of(data)
        assert container.names == ("manifest.json", *sorted(set(members) - {"manifest.json"}))
        for name, content in members.items():
            assert container.read(name) == content
            assert container.size(name) == len(content)
            assert container.sha256(name) == hashlib.sha256(content).hexdigest()
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert tuple(other.namelist()) == container.names
        assert {name: other.read(name) for name in other.namelist()} == members
        assert other.testzip() is None


def test_the_bytes_do_not_depend_on_order_source_or_umask(tmp_path):
    for name, data in MEMBERS.items():
        (tmp_path / name.replace("/", "_")).write_bytes(data)
    files = {name: tmp_path / name.replace("/", "_") for name in reversed(MEMBERS)}
    before = os.umask(0o077)
    try:
        from_files = written(tmp_path, files)
    finally:
        os.umask(before)
    assert from_files == written(tmp_path, MEMBERS) == GOOD


def test_vectors(format_vectors, tmp_path):
    document = json.loads((format_vectors / "container.json").read_bytes())
    for case in document["valid"]:
        members = {name: bytes.fromhex(data) for name, data in case["members"].items()}
        zip64 = Zip64(**case.get("zip64", {}))
        data = written(tmp_path, members, zip64=zip64)
        assert data.hex() == case["bytes"]
        assert Container.open(data, zip64=zip64).cid == case["cid"]
    found = {case["defect"]: (case["check"], bytes.fromhex(case["bytes"])) for case in document["invalid"]}
    assert found == HOSTILE


@pytest.mark.parametrize("defect", HOSTILE)
def test_hostile_archives_are_refused_with_their_code(defect, tmp_path):
    check, data = HOSTILE[defect]
    assert refusal_of(data).check == check
    (tmp_path / "x.kolm").write_bytes(data)
    assert refusal_of(tmp_path / "x.kolm").check == check


def test_every_flipped_bit_is_refused():
    for position in range(len(GOOD)):
        for bit in range(8):
            flipped = bytearray(GOOD)
            flipped[position] ^= 1 << bit
            refusal_of(bytes(flipped))


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=4), st.integers(0, 4))
def test_any_other_edit_is_refused_or_says_something_else(position, insert, cut):
    edited = GOOD[:position] + insert + GOOD[position + cut :]
    try:
        container = Container.open(edited)
    except ArtifactError:
        return
    assert edited == GOOD or container.cid != cid_of(GOOD)


def test_every_shortened_file_is_refused():
    checks = {refusal_of(GOOD[:length]).check for length in range(len(GOOD))}
    assert checks <= {"E_ZIP_TRUNCATED", "E_ZIP_HEADER_MISMATCH"}


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_end_in_another_error(data):
    refusal_of(data)
    refusal_of(GOOD[:60] + data)


# 64-bit records


def large(tmp_path: Path) -> bytes:
    return written(tmp_path, MEMBERS | {"adapter/w": bytes(50)}, zip64=SMALL)


def test_64_bit_records_are_used_from_the_threshold_on_only(tmp_path):
    for size, wide in ((39, False), (40, True)):
        one = {"manifest.json": bytes(size)}
        data = written(tmp_path, one, zip64=Zip64(size=40, count=9))
        assert (b"\x01\x00\x10\x00" in data) == wide
        assert Container.open(data, zip64=Zip64(size=40, count=9)).read("manifest.json") == bytes(size)
    for count, wide in ((2, False), (3, True)):
        many = {"manifest.json": b""} | {f"m{number}": b"" for number in range(count - 1)}
        data = written(tmp_path, many, zip64=Zip64(count=3))
        assert (b"PK\x06\x06" in data) == wide


def test_64_bit_records_are_refused_where_they_are_not_needed(tmp_path):
    assert refusal_of(large(tmp_path)).check == "E_ZIP_EXTRA"
    many = written(tmp_path, MEMBERS, zip64=Zip64(count=3))
    assert refusal_of(many).check == "E_ZIP64"


def test_32_bit_records_are_refused_where_64_bits_are_needed(tmp_path):
    assert refusal_of(written(tmp_path, {"manifest.json": bytes(50)}), zip64=SMALL).check == "E_ZIP64"
    assert refusal_of(GOOD, zip64=Zip64(count=3)).check == "E_ZIP64"


def test_every_flipped_bit_of_64_bit_records_is_refused(tmp_path):
    data = large(tmp_path)
    checks = set()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        checks.add(refusal_of(bytes(flipped), zip64=SMALL).check)
    assert {"E_ZIP64", "E_ZIP_EXTRA"} <= checks


# members as streams


def test_a_member_is_a_seekable_file_of_its_own():
    container = Container.open(GOOD)
    with container.open_member("a.txt") as stream:
        assert stream.read(2) == b"al"
        assert stream.tell() == 2
        assert stream.seek(-1, os.SEEK_END) == 4
        assert stream.read() == b"a"
        assert stream.read() == b""
        assert stream.seek(1) == 1
        assert stream.seek(1, os.SEEK_CUR) == 2
        assert stream.read() == b"pha"


def test_weights_are_listed_without_unpacking(tmp_path):
    header = b'{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}'
    weights = len(header).to_bytes(8, "little") + header + b"abc"
    write_container(tmp_path / "x.kolm", {"manifest.json": b"{}", "w": weights})
    with Container.open(tmp_path / "x.kolm") as container, container.open_member("w") as stream:
        assert read_tensors(stream) == read_tensors(weights)


# what the writer refuses


@pytest.mark.parametrize(
    ("members", "check"),
    [
        ({}, "E_ZIP_LAYOUT"),
        ({"a": b""}, "E_ZIP_LAYOUT"),
        ({"manifest.json": b"", "../a": b""}, "E_ZIP_NAME"),
        ({"manifest.json": b"", "a": b"", "A": b""}, "E_ZIP_NAME_COLLISION"),
        ({"manifest.json": b"", "caf\u00e9": b""}, "E_ZIP_NAME"),
    ],
)
def test_members_that_no_reader_would_accept_are_not_written(tmp_path, members, check):
    with pytest.raises(ArtifactError) as caught:
        write_container(tmp_path / "x.kolm", members)
    assert caught.value.check == check
    assert list(tmp_path.iterdir()) == []


def test_a_missing_source_or_folder_leaves_nothing(tmp_path):
    with pytest.raises(StorageError, match="cannot read the member"):
        write_container(tmp_path / "x.kolm", {"manifest.json": b"{}", "w": tmp_path / "missing"})
    with pytest.raises(StorageError, match="cannot read the member /proc/self/mem"):
        write_container(tmp_path / "x.kolm", {"manifest.json": b"{}", "w": Path("/proc/self/mem")})
    with pytest.raises(StorageError, match="cannot write"):
        write_container(tmp_path / "missing" / "x.kolm", {"manifest.json": b"{}"})
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_there_and_members_that_are_not_there(tmp_path):
    with pytest.raises(StorageError, match="cannot read the artifact"):
        Container.open(tmp_path / "missing.kolm")
    with pytest.raises(StorageError, match="not a plain file"):
        Container.open(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        Container.open(GOOD).read("missing")
    assert caught.value.check == "E_MEMBER_MISSING"


def test_the_example_of_the_format_page_is_what_is_written(format_vectors):
    page = (format_vectors.parent / "container.md").read_text()
    rows = [GOOD[at : at + 16].hex(" ") for at in range(0, len(GOOD), 16)]
    assert all(f"\n{16 * number:04x}  {row} " in page for number, row in enumerate(rows))
    assert f"`{cid_of(GOOD)}`" in page
    assert all(f"| `{check}` |" in page for check, _ in HOSTILE.values())

import hashlib
import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.cid import cid_of, cid_of_file
from kolm.container import Container, Limits, Zip64, write_container
from kolm.errors import ArtifactError, StorageError
from kolm.tensors import read_tensors
from tests.kolm.hostile_zips import GOOD, HOSTILE, A, B, M, archive

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


# limits, before anything is read


def test_a_declared_size_beyond_the_limit_is_refused_before_it_is_read():
    bomb = archive(M, A, locals_={1: {"size": 0xFFFFFFF0, "packed": 0xFFFFFFF0}})
    tracemalloc.start()
    error = refusal_of(bomb, limits=Limits(member_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.check == "E_LIMIT"
    assert peak < 1 << 20


def test_too_many_members_and_too_large_files_are_refused():
    assert refusal_of(GOOD, limits=Limits(members=2)).check == "E_LIMIT"
    assert refusal_of(GOOD, limits=Limits(file_bytes=len(GOOD) - 1)).check == "E_LIMIT"
    assert Container.open(GOOD, limits=Limits(members=3, file_bytes=len(GOOD))).names


def test_a_member_is_not_loaded_beyond_the_limit():
    with pytest.raises(ArtifactError) as caught:
        Container.open(GOOD).read("a.txt", max_bytes=4)
    assert caught.value.check == "E_LIMIT"


def test_a_large_file_is_hashed_on_two_threads_and_not_held(tmp_path):
    content = os.urandom(1 << 20) * 16 + b"tail"
    (tmp_path / "w").write_bytes(content)
    write_container(tmp_path / "x.kolm", {"manifest.json": b"{}", "w": tmp_path / "w", "z": b"z"})
    tracemalloc.start()
    with Container.open(tmp_path / "x.kolm") as container:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert container.cid == cid_of_file(tmp_path / "x.kolm")
        assert container.sha256("w") == hashlib.sha256(content).hexdigest()
        assert container.read("w") == content
    assert peak < 6 << 20


def test_a_damaged_large_member_is_refused(tmp_path):
    data = bytearray(written(tmp_path, {"manifest.json": b"{}", "w": bytes(1 << 20)}))
    data[1 << 19] ^= 1
    assert refusal_of(bytes(data)).check == "E_MEMBER_DIGEST"
    assert refusal_of(bytes(data[: 1 << 20])).check == "E_ZIP_TRUNCATED"


# a file that changes


def test_a_member_is_read_from_the_file_that_was_hashed(tmp_path):
    (tmp_path / "x.kolm").write_bytes(GOOD)
    with Container.open(tmp_path / "x.kolm") as container:
        (tmp_path / "y.kolm").write_bytes(GOOD.replace(b"alpha", b"gamma"))
        (tmp_path / "y.kolm").replace(tmp_path / "x.kolm")
        with pytest.raises(ArtifactError) as caught:
            container.read("a.txt")
    assert caught.value.check == "E_IO_CHANGED"


def test_a_file_that_was_changed_in_place_is_refused(tmp_path):
    path = tmp_path / "x.kolm"
    path.write_bytes(GOOD)
    with Container.open(path) as container, container.open_member("a.txt") as stream:
        os.utime(path, ns=(1, 1))
        with pytest.raises(ArtifactError) as caught:
            stream.read()
    assert caught.value.check == "E_IO_CHANGED"


def test_a_member_file_that_grows_while_it_is_copied_is_refused(tmp_path):
    class Growing(type(tmp_path)):  # type: ignore[misc]
        def open(self, *args, **options):
            handle = super().open(*args, **options)
            with super().open("ab") as again:
                again.write(b"more")
            return handle

    (tmp_path / "w").write_bytes(b"abc")
    with pytest.raises(ArtifactError) as caught:
        write_container(tmp_path / "x.kolm", {"manifest.json": b"{}", "w": Growing(tmp_path / "w")})
    assert caught.value.check == "E_IO_CHANGED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


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

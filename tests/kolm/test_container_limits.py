import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from kolm.cid import cid_of_file
from kolm.container import Container, Limits, write_container
from kolm.container.tape import Tape
from kolm.errors import ArtifactError, StorageError
from tests.kolm.hostile_zips import GOOD, A, M, archive


def refusal_of(source: Path | bytes, **options: object) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        Container.open(source, **options)
    assert caught.value.hint
    return caught.value


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
    assert peak < 8 << 20


def test_a_damaged_large_member_is_refused(tmp_path):
    write_container(tmp_path / "x.kolm", {"manifest.json": b"{}", "w": bytes(1 << 20)})
    data = bytearray((tmp_path / "x.kolm").read_bytes())
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


def test_a_file_that_is_cut_off_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x.kolm"
    path.write_bytes(bytes(1 << 20))
    with path.open("rb") as handle:
        tape = Tape(handle)
        os.truncate(path, 1 << 19)
        with pytest.raises(ArtifactError) as caught:
            tape.skim(1 << 20)
        tape.close()
    assert caught.value.check == "E_IO_CHANGED"


def test_a_device_that_fails_to_read_is_named():
    failing = Path("/sys/class/net/lo/speed")
    if not failing.exists():
        pytest.skip("no file here whose reading fails")
    with pytest.raises(StorageError, match="cannot read the artifact"):
        Container.open(failing)

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kolm.errors import ArtifactError, StorageError
from kolm.files import (
    AtomicFile,
    home,
    open_for_reading,
    read_bytes,
    replace,
    replace_all,
    staging,
    write_atomic,
)
from tests.conftest import program


def run_python(code: str, *args: str, before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*(before or []), sys.executable, "-c", code, *args]
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def fill_a_device() -> None:
    with Path("/dev/full").open("wb", buffering=0) as device:
        device.write(b"x")


def interrupted_write(path: Path) -> None:
    with AtomicFile(path) as handle:
        handle.write(b"half")
        raise KeyError("something else")


def staged_write(out: Path) -> None:
    with staging(out) as folder:
        (folder / "a").write_bytes(b"x")
        fill_a_device()


def test_home_is_kolm_home_and_else_a_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path / "state"))
    assert home() == tmp_path / "state"
    monkeypatch.setenv("KOLM_HOME", "~/elsewhere")
    assert home() == Path.home() / "elsewhere"
    monkeypatch.delenv("KOLM_HOME")
    assert home() == Path.home() / ".kolm"


def test_a_written_file_has_its_bytes_and_mode_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "out.bin"
    write_atomic(path, b"one", mode=0o600)
    write_atomic(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_kept_when_overwriting_is_not_wanted(tmp_path):
    path = tmp_path / "out.bin"
    write_atomic(path, b"one", overwrite=False)
    with pytest.raises(StorageError, match="exists already"):
        write_atomic(path, b"two", overwrite=False)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyError):
        interrupted_write(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_about_another_file_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError), AtomicFile(tmp_path / "out.bin") as handle:
        handle.write((tmp_path / "missing").read_bytes())


def test_a_full_device_is_told_in_words(tmp_path):
    path = tmp_path / "out.bin"
    with pytest.raises(StorageError, match=r"out\.bin: the disk is full") as caught, AtomicFile(path):
        fill_a_device()
    assert "free some space" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_file_and_nothing_else(tmp_path):
    unshare = program("unshare")
    code = (
        "import sys; from pathlib import Path; from kolm.errors import StorageError\n"
        "from kolm.files import write_atomic\n"
        "path = Path(sys.argv[1]) / 'out.bin'; write_atomic(path, b'old')\n"
        "try: write_atomic(path, b'x' * 1_000_000)\n"
        "except StorageError as err: print(err.message)\n"
        "print([p.name for p in path.parent.iterdir()], path.read_bytes())"
    )
    mount = f'mount -t tmpfs -o size=64k none {tmp_path} 2>/dev/null || exit 77; exec "$@"'
    done = run_python(code, str(tmp_path), before=[unshare, "-rm", "sh", "-c", mount, "sh"])
    if done.returncode in (1, 77) and not done.stdout:
        pytest.skip("this system lets nobody mount a small disk")
    assert done.stdout == f"cannot write {tmp_path}/out.bin: the disk is full\n['out.bin'] b'old'\n"


def test_a_file_size_limit_is_told_in_words(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path; from kolm.errors import StorageError\n"
        "from kolm.files import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except StorageError as err: print(err.message)"
    )
    done = run_python(code, str(tmp_path / "out.bin"))
    assert done.stdout.startswith(f"cannot write {tmp_path}/out.bin: the file is larger"), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("missing/out.bin", "no such file or folder"),
        ("file/out.bin", "not a folder"),
        ("folder", "not a plain file"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_with_a_hint(tmp_path, target, reason):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=reason) as caught:
        write_atomic(tmp_path / target, b"x")
    assert caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_device_is_never_replaced_by_a_file():
    with pytest.raises(StorageError, match="not a plain file"):
        write_atomic(Path("/dev/full"), b"x")
    assert Path("/dev/full").is_char_device()


def test_staging_is_inside_the_target_and_gone_afterwards(tmp_path):
    out = tmp_path / "deep" / "out"
    with staging(out) as folder:
        (folder / "a").write_bytes(b"x")
        assert folder.parent == out
        replace(folder / "a", target=out / "a")
    assert [path.name for path in out.iterdir()] == ["a"]


def test_staging_reports_a_full_disk_and_cleans_up(tmp_path):
    with pytest.raises(StorageError, match="the disk is full"):
        staged_write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_staging_does_not_explain_other_errors(tmp_path):
    with pytest.raises(FileNotFoundError), staging(tmp_path) as folder:
        (folder / "missing").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_staging_under_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError), staging(tmp_path / "file"):
        pytest.fail("the block must not run")


def test_replacing_with_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        replace(tmp_path / "missing", target=tmp_path / "b")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def staged_pair(folder: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (folder / name).write_bytes(f"new {name}".encode())
    return folder / "a", folder / "b"


def test_replacing_all_gives_every_file_its_name_and_leaves_nothing_else(tmp_path):
    (tmp_path / "one").write_bytes(b"old one")
    with staging(tmp_path) as folder:
        first, second = staged_pair(folder)
        replace_all([(first, tmp_path / "one"), (second, tmp_path / "two")])
    assert contents(tmp_path) == {"one": b"new a", "two": b"new b"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_under_the_second_name_is_found_before_anything_moves(tmp_path):
    (tmp_path / "one").write_bytes(b"old one")
    (tmp_path / "two").mkdir()
    inode = (tmp_path / "one").stat().st_ino
    with staging(tmp_path) as folder:
        first, second = staged_pair(folder)
        with pytest.raises(StorageError, match="two: it is not a plain file"):
            replace_all([(first, tmp_path / "one"), (second, tmp_path / "two")])
        assert contents(folder) == {"a": b"new a", "b": b"new b"}
    assert contents(tmp_path) == {"one": b"old one"}
    assert (tmp_path / "one").stat().st_ino == inode


def test_a_move_that_fails_takes_the_earlier_ones_back(tmp_path):
    (tmp_path / "one").write_bytes(b"old one")
    with staging(tmp_path) as folder:
        first, second = staged_pair(folder)
        moves = [
            (first, tmp_path / "one"),
            (second, tmp_path / "fresh"),
            (folder / "missing", tmp_path / "x"),
        ]
        with pytest.raises(StorageError, match="no such file"):
            replace_all(moves)
        assert contents(folder) == {"a": b"new a", "b": b"new b"}
    assert contents(tmp_path) == {"one": b"old one"}


def test_the_old_file_comes_back_when_its_own_move_fails(tmp_path):
    (tmp_path / "one").write_bytes(b"old one")
    with staging(tmp_path) as folder, pytest.raises(StorageError, match="no such file"):
        replace_all([(folder / "missing", tmp_path / "one")])
    assert contents(tmp_path) == {"one": b"old one"}


def test_reading_names_what_was_to_be_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert read_bytes(tmp_path / "a", what="receipt", max_bytes=3) == b"abc"
    with pytest.raises(StorageError, match=r"cannot read the receipt .*: no such file"):
        read_bytes(tmp_path / "missing", what="receipt")
    with pytest.raises(ArtifactError, match="at most 2 are read") as caught:
        read_bytes(tmp_path / "a", what="receipt", max_bytes=2)
    assert caught.value.check == "E_LIMIT"


def test_a_read_that_fails_is_named():
    with pytest.raises(StorageError, match="cannot read the receipt /proc/self/mem"):
        read_bytes(Path("/proc/self/mem"), what="receipt")


def test_folders_and_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(StorageError, match="not a plain file"):
            open_for_reading(path, what="spec")


def test_an_unnamed_reason_keeps_the_systems_own_words(tmp_path):
    with pytest.raises(StorageError, match="Input/output error"), AtomicFile(tmp_path / "out.bin"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

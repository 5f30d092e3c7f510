"""The sequencer on a disk that refuses, and in a process that dies, at every single operation."""

import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kolm.errors import StorageError
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import leaf_hash
from registry import journal
from registry.sequencer import Sequencer
from tests.kolm.tlog.logs import KEY, LOG, ORIGIN, straight_root
from tests.registry.sequencers import append, entries_of, opened, snapshot

OLD = [b"old %d" % at for at in range(254)]
FRESH = [b"fresh %d" % at for at in range(4)]
FEW = 4
"""Entries of a journal that begins again on the way."""


class Killed(BaseException):
    """The end of the process: nothing after it runs."""


class Disk:
    """Counts what the log asks of the disk and lets a stretch of it fail; a write fails half-way."""

    def __init__(self, fail: Callable[[], BaseException]) -> None:
        self._fail, self._bad = fail, range(0)
        self.asked = 0
        self.dead = threading.Event()

    def fail_at(self, bad: range) -> None:
        self._bad, self.asked = bad, 0
        self.dead.clear()

    def attempt(self, half: Callable[[], object] = lambda: None) -> None:
        self.asked += 1
        if self.asked - 1 in self._bad:
            half()
            error = self._fail()
            if isinstance(error, Killed):
                self.dead.set()
            raise error


def attach(disk: Disk, patch: pytest.MonkeyPatch) -> None:
    """Put a disk under everything that the log writes with; waiting for the real one is left out."""
    write_bytes, replace, mkdir, opening = Path.write_bytes, Path.replace, Path.mkdir, Path.open

    class Handle(io.FileIO):
        def write(self, data: Any) -> int:
            disk.attempt(lambda: super(Handle, self).write(bytes(data)[: len(data) // 2]))
            return super().write(data)

        def truncate(self, size: int | None = None) -> int:
            disk.attempt()
            return super().truncate(size)

    def asking(real: Callable[..., Any]) -> Callable[..., Any]:
        def ask(self: Path, *arguments: Any, **options: Any) -> Any:
            disk.attempt()
            return real(self, *arguments, **options)

        return ask

    def halving(self: Path, data: bytes) -> int:
        disk.attempt(lambda: write_bytes(self, data[: len(data) // 2]))
        return write_bytes(self, data)

    def open_raw(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        return Handle(self, "r+b") if mode == "r+b" else opening(self, mode, *arguments, **options)

    patch.setattr(os, "fsync", lambda _: disk.attempt())
    patch.setattr(os, "sync", lambda: None)
    patch.setattr(Path, "write_bytes", halving)
    patch.setattr(Path, "replace", asking(replace))
    patch.setattr(Path, "mkdir", asking(mkdir))
    patch.setattr(Path, "open", open_raw)
    patch.setattr(threading, "excepthook", lambda _: None)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of logs, and no power cut among their ends
    with opened(tmp_path / "prepared") as log:
        append(log, OLD)
    return tmp_path / "prepared"


def fresh_copies(prepared: Path, count: int) -> Iterator[Path]:
    for at in range(count):
        folder = prepared.with_name(f"log{at}")
        shutil.copytree(prepared, folder)
        yield folder
        shutil.rmtree(folder)


def count_operations(prepared: Path) -> int:
    """How much of the disk an undisturbed run asks."""
    disk = Disk(Killed)
    with pytest.MonkeyPatch.context() as patch:
        attach(disk, patch)
        for folder in fresh_copies(prepared, 1):
            disk.fail_at(range(0))
            with opened(folder, journal_entries=FEW) as log:
                append_each(log, disk)
    return disk.asked


def append_each(log: Sequencer, disk: Disk) -> dict[int, bytes]:
    """Append one after the other until the process dies; return what was acknowledged."""
    kept = {}
    for entry in FRESH:
        if disk.dead.is_set():
            break
        place = log.append(entry)
        while not place.done() and not disk.dead.is_set():
            time.sleep(0.0005)
        if place.done():
            kept[place.result()] = entry
    return kept


def test_killed_before_every_operation_nothing_is_lost_and_nothing_forked(prepared: Path):
    disk, operations = Disk(Killed), count_operations(prepared)
    assert operations > 60
    for at, folder in enumerate(fresh_copies(prepared, operations)):
        kept: dict[int, bytes] = {}
        with pytest.MonkeyPatch.context() as patch:
            attach(disk, patch)
            disk.fail_at(range(at, 10**6))  # a dead process asks for nothing more
            try:
                with opened(folder, journal_entries=FEW) as log:
                    kept = append_each(log, disk)
            except Killed:
                pass  # while it was opened
        shown = Checkpoint.open((folder / "checkpoint").read_bytes(), LOG)
        with opened(folder) as log:
            entries = entries_of(log)
            assert entries == [*OLD, *FRESH][: len(entries)], at
            assert kept == {index: entries[index] for index in kept}, at
            assert straight_root([leaf_hash(entry) for entry in entries[: shown.size]]) == shown.root, at
            assert append(log, [b"after"]) == [len(entries)], at


@pytest.mark.parametrize(("long", "step"), [(1, 1), (4, 3)])
def test_refused_at_every_operation_whoever_tries_again_is_logged_once(prepared: Path, long: int, step: int):
    disk, operations = Disk(lambda: OSError(28, "no space left on device")), count_operations(prepared)
    moments = range(0, operations, step)
    for at, folder in zip(moments, fresh_copies(prepared, len(moments)), strict=True):
        with pytest.MonkeyPatch.context() as patch:
            attach(disk, patch)
            disk.fail_at(range(at, at + long))
            log = insist(lambda folder=folder: opened(folder, journal_entries=FEW))
            for index, entry in enumerate(FRESH, start=len(OLD)):
                said = insist(lambda entry=entry, log=log: log.append(entry).result(20))
                assert said == index, at
                assert log.size == index + 1, at
            log.close()
        with opened(folder) as log:
            assert entries_of(log) == [*OLD, *FRESH], at


def insist(action: Callable[[], Any]) -> Any:
    """Try again while the disk refuses."""
    for _ in range(8):
        try:
            return action()
        except StorageError:
            continue
    return action()


def test_nothing_is_signed_before_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process that was killed between writing and waiting leaves a record that only memory holds."""
    folder = tmp_path / "log"
    with opened(folder) as log:
        append(log, [b"one"])
    signed = (folder / "checkpoint").read_bytes()
    with opened(tmp_path / "other") as log:
        append(log, [b"one", b"two"])
    shutil.copy(tmp_path / "other" / "journal", folder / "journal")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        opened(folder)
    assert (folder / "checkpoint").read_bytes() == signed
    monkeypatch.undo()
    with opened(folder) as log:
        assert entries_of(log) == [b"one", b"two"]


def refuse(*_: object, **__: object) -> None:
    raise OSError(28, "no space left on device")


@pytest.mark.parametrize("moved", [False, True], ids=["before it moved", "after it moved"])
def test_a_journal_that_cannot_begin_again_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
):
    real, entries = journal.write_atomic, [b"%d" % at for at in range(8)]
    refused = threading.Event()

    def failing(path: Path, data: bytes) -> None:
        if moved:
            real(path, data)
        refused.set()
        raise StorageError("cannot write: the disk is full", hint="")

    with opened(tmp_path / "log", journal_entries=FEW) as log:
        append(log, entries[:3])
        monkeypatch.setattr(journal, "write_atomic", failing)
        append(log, entries[3:5])
        assert refused.wait(20)
        monkeypatch.setattr(journal, "write_atomic", real)
        assert append(log, entries[5:]) == [5, 6, 7]
    with opened(tmp_path / "log") as log:
        assert entries_of(log) == entries


def test_damage_is_left_as_it_was_found(tmp_path: Path):
    """What lies behind a flipped byte is good still, and may be all that is left of it."""
    with opened(tmp_path / "log") as log:
        append(log, [b"%d" % at for at in range(300)])
    path = tmp_path / "log" / "journal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = snapshot(tmp_path / "log")
    with pytest.raises(StorageError, match="holds fewer entries, or others"):
        opened(tmp_path / "log")
    assert snapshot(tmp_path / "log") == before


def test_more_entries_than_were_signed_but_others_are_refused_untouched(tmp_path: Path):
    with opened(tmp_path / "other") as log:
        append(log, [b"other %d" % at for at in range(400)])
    with opened(tmp_path / "log") as log:
        append(log, [b"%d" % at for at in range(300)])
    shutil.copy(tmp_path / "other" / "journal", tmp_path / "log" / "journal")
    before = snapshot(tmp_path / "log")
    with pytest.raises(StorageError, match="holds fewer entries, or others, than its checkpoint of 300"):
        opened(tmp_path / "log")
    assert snapshot(tmp_path / "log") == before


def test_a_folder_that_cannot_be_locked_is_refused_in_words(tmp_path: Path):
    (tmp_path / "log" / "lock").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write .*lock"):
        opened(tmp_path / "log")


def test_a_log_that_cannot_renew_its_checkpoint_says_so_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with Sequencer(tmp_path / "log", origin=ORIGIN, key=KEY, renewed_after=0.01) as log:
        append(log, [b"one"])
        log.check()
        monkeypatch.setattr(os, "fsync", refuse)
        assert soon(lambda: not takes(log))
        time.sleep(0.1)  # the attempts that follow are not all told
        said = [record.getMessage() for record in caplog.records]
        assert [line for line in said if "the disk is full" in line] == said[:1]
        monkeypatch.undo()
        assert soon(lambda: takes(log))
        assert append(log, [b"two"]) == [1]


def takes(log: Sequencer) -> bool:
    try:
        log.check()
    except StorageError:
        return False
    return True


def soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()

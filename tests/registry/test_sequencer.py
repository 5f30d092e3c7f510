"""The sequencer: what is acknowledged stays, whatever happens to the process and its files."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest

from kolm.errors import StorageError
from kolm.keys import PrivateKey
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import check_consistency, consistency_proof, leaf_hash
from kolm.tlog.tiles import TileReader, read_entries
from registry.journal import Journal
from registry.sequencer import Sequencer
from tests.kolm.tlog.logs import KEY, LOG, ORIGIN, straight_files, straight_root
from tests.registry.sequencers import append, entries_of, opened, snapshot

REPOSITORY = Path(__file__).resolve().parents[2]
FEW = 8
"""Entries of a journal that begins again several times before its writer is killed."""


def test_entries_stand_in_the_order_they_came_and_survive_a_restart(tmp_path: Path):
    entries = [b"%d" % at for at in range(600)]
    with opened(tmp_path / "log") as log:
        assert append(log, entries[:300]) == list(range(300))
        assert append(log, entries[300:]) == list(range(300, 600))
        assert entries_of(log) == entries
    for path, data in straight_files(entries).items():
        assert (tmp_path / "log" / path).read_bytes() == data
    with opened(tmp_path / "log") as log:
        assert entries_of(log) == entries
        assert append(log, [b"more"]) == [600]
        assert entries_of(log) == [*entries, b"more"]


def test_partial_tiles_go_when_the_full_one_is_there(tmp_path: Path):
    with opened(tmp_path / "log") as log:
        append(log, [b"first"])
        assert log.read("tile/entries/000.p/1") is not None
        append(log, [b"%d" % at for at in range(299)])
        assert log.read("tile/entries/000.p/1") is None
        assert len(entries_of(log)) == 300


def test_a_journal_begins_again_and_the_log_goes_on(tmp_path: Path):
    entries = [b"%d" % at for at in range(700)]
    for at in range(0, 700, 70):
        with opened(tmp_path / "log", journal_entries=100) as log:
            append(log, entries[at : at + 70])
    assert (tmp_path / "log" / "journal").stat().st_size < 3000
    with opened(tmp_path / "log") as log:
        assert entries_of(log) == entries


def test_half_a_record_at_the_end_is_cut_off(tmp_path: Path):
    with opened(tmp_path / "log") as log:
        append(log, [b"one", b"two"])
    for torn in (b"\x00", b"\x00\x03\x00\x00\x00\x00tw", bytes(600), b"\x00\x03\x12\x34\x56\x78six"):
        with (tmp_path / "log" / "journal").open("ab") as handle:
            handle.write(torn)
        with opened(tmp_path / "log") as log:
            assert entries_of(log) == [b"one", b"two"]


def test_tiles_and_checkpoint_are_made_again(tmp_path: Path):
    entries = [b"%d" % at for at in range(300)]
    with opened(tmp_path / "log") as log:
        append(log, entries)
    for path in [path for path in (tmp_path / "log" / "tile").rglob("*") if path.is_file()]:
        path.unlink()
    (tmp_path / "log" / "checkpoint").write_bytes(b"")  # what a power cut may leave
    with opened(tmp_path / "log") as log:
        assert entries_of(log) == entries


@pytest.mark.parametrize("lost", ["tile/entries/001.p/4", "tile/0/001.p/4", "tile/1/000.p/1"])
def test_a_tile_that_no_journal_makes_again_is_missed_in_words(tmp_path: Path, lost: str):
    with opened(tmp_path / "log", journal_entries=260) as log:
        append(log, [b"%d" % at for at in range(260)])
    (tmp_path / "log" / lost).write_bytes(b"damaged")
    before = snapshot(tmp_path / "log")
    with pytest.raises(StorageError, match=f"a tile before its journal is missing or damaged: {lost}"):
        opened(tmp_path / "log")
    assert snapshot(tmp_path / "log") == before


def test_a_log_that_was_set_back_signs_nothing(tmp_path: Path):
    with opened(tmp_path / "log") as log:
        append(log, [b"one"])
    early = (tmp_path / "log" / "journal").read_bytes()
    with opened(tmp_path / "log") as log:
        append(log, [b"two"])
    signed = (tmp_path / "log" / "checkpoint").read_bytes()
    (tmp_path / "log" / "journal").write_bytes(early)
    with pytest.raises(StorageError, match="holds fewer entries, or others, than its checkpoint of 2"):
        opened(tmp_path / "log")
    (tmp_path / "log" / "journal").unlink()
    with pytest.raises(StorageError, match="missing beside a checkpoint"):
        opened(tmp_path / "log")
    (tmp_path / "log" / "journal").write_bytes(b"something else")
    with pytest.raises(StorageError, match="journal"):
        opened(tmp_path / "log")
    assert (tmp_path / "log" / "checkpoint").read_bytes() == signed


def test_a_log_has_one_writer_one_key_and_one_name(tmp_path: Path):
    with opened(tmp_path / "log") as log:
        append(log, [b"one"])
        with pytest.raises(StorageError, match="another process writes this log"):
            opened(tmp_path / "log")
    with pytest.raises(StorageError, match="of another log, or damaged"):
        Sequencer(tmp_path / "log", origin=ORIGIN, key=PrivateKey.generate())
    with pytest.raises(StorageError, match="of another log, or damaged"):
        Sequencer(tmp_path / "log", origin="another", key=KEY)


def test_the_longest_entry_is_taken_and_a_closed_log_is_refused(tmp_path: Path):
    with opened(tmp_path / "log") as log:
        assert append(log, [bytes(65535)]) == [0]  # and no longer one: attack 62
    with pytest.raises(StorageError, match="closed"):
        log.append(b"late")


def test_a_disk_that_refuses_loses_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with opened(tmp_path / "log") as log:
        append(log, [b"one"])
        (tmp_path / "log" / "draft").unlink(missing_ok=True)
        (tmp_path / "log" / "draft").mkdir()  # no tile can be written
        with pytest.raises(StorageError):
            append(log, [b"two"])
        assert Checkpoint.open(log.read("checkpoint") or b"", LOG).size == 1
        (tmp_path / "log" / "draft").rmdir()
        monkeypatch.setattr(os, "fsync", _refusing)
        with pytest.raises(StorageError, match="the disk is full"):
            append(log, [b"three"])
        monkeypatch.undo()
        assert append(log, [b"four"]) == [2]
        assert entries_of(log) == [b"one", b"two", b"four"]


def _refusing(_descriptor: int) -> None:
    raise OSError(28, "no space left on device")


def kill_one(folder: Path, tag: str, *, after: float) -> tuple[dict[int, str], list[bytes]]:
    """Run an appender, kill it, and return what it acknowledged and the checkpoints that it showed."""
    command = [sys.executable, "-m", "tests.registry.appender", str(folder), tag, str(FEW)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    lines, shown = [process.stdout.readline()], []
    time.sleep(after)
    shown.append((folder / "checkpoint").read_bytes())
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    process.wait()
    shown.append((folder / "checkpoint").read_bytes())
    said = [line.split() for line in lines if line.endswith("\n")]
    return {int(index): entry for index, entry in said}, shown


def killed(folder: Path, *, times: int) -> int:
    """Kill appenders at random moments, check that nothing was lost or bent, and return how much was kept."""
    kept: dict[int, str] = {}
    shown: list[bytes] = []
    chance = random.Random(5)  # noqa: S311 - moments to kill, not secrets
    for at in range(times):
        more, notes = kill_one(folder, f"run{at}", after=chance.random() * 0.3)
        assert not kept.keys() & more.keys()
        kept |= more
        shown += notes
    with opened(folder) as log:
        entries = list(read_entries(log.read, 0, log.size, size=log.size))
        newest = Checkpoint.open(log.read("checkpoint") or b"", LOG)
        tiles = TileReader(log.read, log.size)
        assert newest.root == straight_root([leaf_hash(entry) for entry in entries])
        assert {index: entries[index].decode() for index in kept} == kept
        for note in shown:
            old = Checkpoint.open(note, LOG)
            if old.size:
                proof = consistency_proof(old.size, newest.size, tiles)
                check_consistency(old.size, old.root, newest.size, newest.root, proof=proof)
    return len(kept)


def test_killed_twice_nothing_acknowledged_is_lost(tmp_path: Path):
    assert killed(tmp_path / "log", times=2) > 0


@pytest.mark.slow
def test_killed_fifty_times_nothing_acknowledged_is_lost(tmp_path: Path):
    kept = killed(tmp_path / "log", times=50)
    with closing(Journal(tmp_path / "log" / "journal")) as journal:
        begins = journal.begin // FEW
    print(f"\n50 kills, about {begins} journals, {kept} acknowledged entries, none lost, no fork")  # noqa: T201
    assert kept > 50
    assert begins > 10


def paced(log: Sequencer, *, rate: int, seconds: float) -> list[float]:
    """Append at a rate and return how long each entry took to be acknowledged, in seconds."""
    took: list[float] = []

    def acknowledged(begun: float) -> None:
        took.append(time.perf_counter() - begun)

    begin, places = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, begin + number / rate - time.perf_counter()))
        begun = time.perf_counter()
        place: Future[int] = log.append(b"%0200d" % number)
        place.add_done_callback(lambda _, begun=begun: acknowledged(begun))
        places.append(place)
    for place in places:
        place.result(20)
    return took


@pytest.mark.slow
def test_a_thousand_appends_a_second_are_sustained(tmp_path: Path):
    with opened(tmp_path / "log") as log:
        begin = time.perf_counter()
        took = sorted(paced(log, rate=1200, seconds=20))
        rate = len(took) / (time.perf_counter() - begin)
        begin = time.perf_counter()
        append(log, [b"%0200d" % at for at in range(20_000)])
        flat_out = 20_000 / (time.perf_counter() - begin)
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    said = f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, most {took[-1] * 1000:.0f} ms"
    print(f"\nin process: {rate:.0f} appends/s, {said}; flat out: {flat_out:.0f} appends/s")  # noqa: T201
    assert rate > 1000
    assert p99 < 1

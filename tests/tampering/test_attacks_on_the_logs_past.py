"""Attacks 57 to 60 and 62: a log that takes something back, or serves other tiles (attacks.md)."""

from dataclasses import replace
from pathlib import Path

import pytest

from kolm.errors import DataError, VerificationError
from kolm.tlog.merkle import (
    EMPTY_ROOT,
    check_consistency,
    consistency_proof,
    leaf_hash,
)
from kolm.tlog.tiles import MAX_ENTRY, TileReader, join_entries, read_entries, split_entries, split_hashes
from registry.reader import LogReader
from registry.sequencer import Sequencer
from tests.logs import TIME
from tests.tampering.lies import failed
from tests.tampering.logs import PLACE, Ask, AttackedLog, refused

# 57 to 60: a log over time


def test_attack_57_a_history_that_was_rewritten(log: AttackedLog) -> None:
    rewritten = replace(log, entries=(b"other", *log.entries[1:]))
    proof = consistency_proof(5, 10, rewritten.subtree)
    cases = {
        "another root before": (5, log.root(5), 10, rewritten.root(), proof),
        "another root after": (5, rewritten.root(5), 10, log.root(), proof),
        "a hash too few": (5, rewritten.root(5), 10, rewritten.root(), proof[:-1]),
        "a hash too many": (5, rewritten.root(5), 10, rewritten.root(), [*proof, bytes(32)]),
        "an empty log as a proof": (0, EMPTY_ROOT, 10, log.root(), []),
        "a smaller log": (10, log.root(), 5, log.root(5), proof),
        "one size, two roots": (10, log.root(), 10, rewritten.root(), []),
    }
    check_consistency(5, rewritten.root(5), 10, rewritten.root(), proof=proof)
    for defect, (old, old_root, new, new_root, found) in cases.items():
        with pytest.raises(VerificationError) as caught:
            check_consistency(old, old_root, new, new_root, proof=found)
        assert caught.value.check == "E_LOG_CONSISTENCY", defect


def test_attack_58_a_checkpoint_older_than_the_one_seen(asked: Ask, log: AttackedLog) -> None:
    longer = replace(log, entries=(*log.entries, b"later"))
    report = asked(log.opened(PLACE), seen=longer.checkpoint())
    assert failed(report) == (19, "E_LOG_ROLLBACK")


def test_attack_59_two_trees_of_one_size(asked: Ask, log: AttackedLog) -> None:
    other = replace(log, entries=(*log.entries[:-1], b"other"))
    report = asked(log.opened(PLACE), seen=other.checkpoint())
    assert failed(report) == (19, "E_LOG_EQUIVOCATION")


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ("shorter", "E_LOG_ROLLBACK"),
        ("other", "E_LOG_EQUIVOCATION"),
        ("rewritten", "E_LOG_CONSISTENCY"),
        ("beginning", "E_LOG_ROLLBACK"),
    ],
)
def test_attack_59_both_notes_of_a_log_that_takes_something_back_are_kept(
    log: AttackedLog, tmp_path: Path, now: str, code: str
) -> None:
    entries = {
        "shorter": log.entries[:-1],
        "other": (*log.entries[:-1], b"other"),
        "rewritten": (b"other", *log.entries[1:], b"later"),
        "beginning": (),
    }[now]
    LogReader.open(log.fetch, log.note_key, logs=tmp_path)
    later = replace(log, entries=entries)
    for _ in range(2):  # the first answer is not forgotten
        assert refused(lambda: LogReader.open(later.fetch, log.note_key, logs=tmp_path)) == code
        assert LogReader.open(log.fetch, log.note_key, logs=tmp_path).checkpoint.size == len(log.entries)
    (folder,) = (tmp_path / "evidence").iterdir()
    notes = {path.name: path.read_bytes() for path in folder.iterdir()}
    proof = notes.pop("growth", b"")
    assert notes == {"seen.checkpoint": log.checkpoint(), "offered.checkpoint": later.checkpoint()}
    assert proof.startswith(b"old 10\n") == (now == "rewritten")
    assert proof.endswith(later.checkpoint()) == (now == "rewritten")


def test_attack_57_an_entry_that_the_tree_does_not_hold(log: AttackedLog, tmp_path: Path) -> None:
    entries = (b"other", *log.entries[1:])

    def lying(path: str) -> bytes | None:
        bundle = path == f"tile/entries/000.p/{len(entries)}"
        return join_entries(entries) if bundle else log.fetch(path)

    reader = LogReader.open(lying, log.note_key, logs=tmp_path)
    assert refused(lambda: list(reader.entries())) == "E_LOG_INCLUSION"


@pytest.mark.parametrize(("days", "age", "code"), [(1, 1.5, "E_LOG_STALE"), (2, 1.5, None)])
def test_attack_60_a_log_that_stands_still(
    asked: Ask, log: AttackedLog, days: float, age: float, code: str | None
) -> None:
    checkpoint = log.checkpoint(time=TIME - int(age * 86_400))
    report = asked(log.opened(PLACE, checkpoint=checkpoint), log_max_age_days=days)
    assert report.checks[18].code == code


def test_attack_60_a_checkpoint_of_the_future_or_of_no_time(asked: Ask, log: AttackedLog) -> None:
    future = log.checkpoint(time=TIME + 86_400)
    text, lines = log.checkpoint().split(b"\n\n")
    timeless = text + b"\n\n" + lines.split(b"\n")[0] + b"\n"
    for checkpoint in (future, timeless):
        report = asked(log.opened(PLACE, checkpoint=checkpoint), log_max_age_days=30)
        assert failed(report) == (19, "E_LOG_STALE")


# 62: tiles


def test_attack_62_a_tile_of_another_width(log: AttackedLog) -> None:
    level = b"".join(leaf_hash(entry) for entry in log.entries)
    for data in (level[:-1], level[:-32], level + bytes(32), b""):
        assert refused(lambda data=data: split_hashes(data, width=10, path="tile/0/000.p/10")) == "E_LOG_TILE"
    assert refused(lambda: TileReader(lambda _: None, 10)(0, 0)) == "E_LOG_TILE"
    partial_as_full = {"tile/0/000": level}
    assert refused(lambda: TileReader(partial_as_full.get, 10)(0, 0)) == "E_LOG_TILE"


def test_attack_62_a_bundle_of_entries_of_another_width() -> None:
    bundle = b"\x00\x02ab\x00\x01c"
    assert split_entries(bundle, width=2, path="p") == [b"ab", b"c"]
    for data, width in ((bundle, 1), (bundle, 3), (bundle[:-1], 2), (bundle + b"\x00", 2), (b"\xff\xff", 1)):
        assert refused(lambda d=data, w=width: split_entries(d, width=w, path="p")) == "E_LOG_TILE"
    assert refused(lambda: list(read_entries(lambda _: None, 0, 2, size=2))) == "E_LOG_TILE"


def test_attack_62_an_entry_of_more_than_65535_bytes(log: AttackedLog, tmp_path: Path) -> None:
    assert split_entries(join_entries([bytes(MAX_ENTRY)]), width=1, path="p") == [bytes(MAX_ENTRY)]
    sequencer = Sequencer(tmp_path / "tlog", origin=log.origin, key=log.key)
    try:
        for entry in (bytes(MAX_ENTRY + 1), b""):
            with pytest.raises(DataError, match="1 to 65535 bytes"):
                sequencer.append(entry)
        assert sequencer.size == 0
    finally:
        sequencer.close()

"""A log that bends its past, as its reader finds out, and what is kept to show others."""

import re
from pathlib import Path

import pytest

from kolm.errors import RegistryError, VerificationError
from kolm.keys import PrivateKey
from kolm.tlog.checkpoint import Checkpoint, decoded_hash
from kolm.tlog.merkle import check_consistency, leaf_hash
from kolm.tlog.seen import seen_path
from registry.reader import LogReader
from tests.kolm.tlog.logs import LOG, ORIGIN, fetching, straight_root


def test_where_there_is_no_log_nothing_is_held_against_it(tmp_path: Path):
    with pytest.raises(RegistryError, match="there is no log at this address"):
        LogReader.open(lambda _: None, LOG, logs=tmp_path)
    assert list(tmp_path.iterdir()) == []


HONEST = [b"%d" % at for at in range(300)]


def test_what_is_kept_of_a_rewritten_log_shows_that_it_was(tmp_path: Path):
    """Two notes of two sizes show nothing by themselves; the proof leads to one root and not to the other."""
    LogReader.open(fetching(HONEST), LOG, logs=tmp_path)
    with pytest.raises(VerificationError, match="the later tree does not begin with the earlier one"):
        LogReader.open(fetching([b"other", *HONEST]), LOG, logs=tmp_path)
    (folder,) = (tmp_path / "evidence").iterdir()
    old, *hashes = (folder / "growth").read_bytes().partition(b"\n\n")[0].decode().split("\n")
    assert old == "old 300"
    proof = [decoded_hash(text) for text in hashes]
    begin = straight_root([leaf_hash(entry) for entry in [b"other", *HONEST[:299]]])
    offered = Checkpoint.open((folder / "offered.checkpoint").read_bytes(), LOG)
    check_consistency(300, begin, offered.size, offered.root, proof=proof)


@pytest.mark.parametrize(("tiles", "code"), [("none", "E_LOG_TILE"), ("others", "E_LOG_CONSISTENCY")])
def test_a_log_that_hides_how_it_grew_is_evidence_too(tiles: str, code: str, tmp_path: Path):
    LogReader.open(fetching(HONEST), LOG, logs=tmp_path)
    longer, others = fetching([*HONEST, b"more"]), fetching([b"other", *HONEST])
    shown = {"none": lambda _: None, "others": others}[tiles]
    with pytest.raises(VerificationError) as caught:
        LogReader.open(lambda path: (longer if path == "checkpoint" else shown)(path), LOG, logs=tmp_path)
    assert caught.value.check == code
    assert "was rewritten" not in caught.value.message
    assert len(list((tmp_path / "evidence").rglob("*.checkpoint"))) == 2
    assert Checkpoint.open(seen_path(tmp_path, ORIGIN).read_bytes(), LOG).size == 300


def test_a_checkpoint_seen_last_that_cannot_be_used_is_named(tmp_path: Path):
    LogReader.open(fetching(HONEST), LOG, logs=tmp_path)
    path = seen_path(tmp_path, ORIGIN)
    of_another_key = Checkpoint(ORIGIN, 300, bytes(32)).signed(PrivateKey.generate(), time=1)
    for kept, code in ((b"", "E_NOTE_SYNTAX"), (of_another_key, "E_LOG_KEY")):
        path.write_bytes(kept)
        with pytest.raises(VerificationError, match=re.escape(str(path))) as caught:
            LogReader.open(fetching(HONEST), LOG, logs=tmp_path)
        assert caught.value.check == code
        assert path.read_bytes() == kept

"""Log entries against the vectors of the format page (specs/formats/log.md)."""

import json
from pathlib import Path
from typing import Any

import pytest

from kolm.cid import cid_of
from kolm.entries import ReceiptEntry, RevocationEntry, parse_entry, receipt_entry, revocation_entry
from kolm.errors import ArtifactError, CheckedError
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.note import NoteKey
from kolm.tlog.proof import LogProof

FORMATS = Path(__file__).parents[2] / "specs/formats"
VECTORS = json.loads((FORMATS / "vectors/log.json").read_text(encoding="utf-8"))


def test_the_vectors_are_a_log():
    key = NoteKey.parse(VECTORS["vkey"])
    entries = [text.encode() for text in VECTORS["entries"]]
    assert Checkpoint.open(VECTORS["checkpoint"].encode(), key).size == len(entries)
    proof = LogProof.parse(VECTORS["proof"].encode())
    assert proof.index == VECTORS["index"]
    assert proof.check(entries[proof.index], key).size == len(entries)


def test_the_example_of_the_page_is_the_vector():
    page = (FORMATS / "log.md").read_text(encoding="utf-8")
    assert f"```\n{VECTORS['proof']}```" in page


@pytest.mark.parametrize("vector", VECTORS["invalid_proofs"], ids=lambda vector: vector["defect"])
def test_what_proves_nothing(vector: dict[str, Any]):
    entry, key = VECTORS["entries"][VECTORS["index"]].encode(), NoteKey.parse(VECTORS["vkey"])
    with pytest.raises(CheckedError) as caught:
        LogProof.parse(vector["proof"].encode()).check(entry, key)
    assert caught.value.check == vector["check"]


def test_entries_are_read_as_they_are_written():
    receipt, of_key, of_artifact = (parse_entry(text.encode()) for text in VECTORS["entries"])
    assert isinstance(receipt, ReceiptEntry)
    assert receipt_entry(cid_of(b"artifact"), cid_of(b"receipt")).decode() == VECTORS["entries"][0]
    for entry, text in ((of_key, VECTORS["entries"][1]), (of_artifact, VECTORS["entries"][2])):
        assert isinstance(entry, RevocationEntry)
        again = revocation_entry(entry.revokes.model_dump(), statement=entry.statement)
        assert again.decode() == text


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["defect"])
def test_what_is_no_entry(vector: dict[str, Any]):
    with pytest.raises(ArtifactError) as caught:
        parse_entry(vector["entry"].encode())
    assert caught.value.check == vector["check"]

"""Notes, checkpoints and proofs: what is written is read back, and what is wrong has a name."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import ArtifactError, CheckedError, VerificationError
from kolm.keys import PrivateKey
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import inclusion_proof
from kolm.tlog.note import Note, NoteKey
from kolm.tlog.proof import LogProof
from kolm.tlog.tiles import TileReader
from tests.kolm.tlog.logs import KEY, LOG, ORIGIN, fetching

ROOT = bytes(range(32))
GOOD = Checkpoint(ORIGIN, 5, ROOT).signed(KEY, time=1_800_000_000)
OTHER = PrivateKey.generate()
TEXT, SIGNED = GOOD.split(b"\n\n")
LINE = SIGNED.split(b"\n")[0] + b"\n"


def rebuilt(text: bytes) -> bytes:
    """The note with another text, signed over that text."""
    signature = LOG.id + KEY.sign(text)
    return text + b"\n" + f"— {ORIGIN} ".encode() + base64.b64encode(signature) + b"\n"


def code_of(data: bytes, key: NoteKey = LOG) -> str:
    with pytest.raises(CheckedError) as caught:
        Checkpoint.open(data, key)
    assert caught.value.hint
    return caught.value.check


NOT_NOTES = {
    "empty": b"",
    "no signatures": TEXT + b"\n",
    "no line of signatures": TEXT + b"\n\n",
    "no blank line": TEXT + b"\n" + LINE,
    "carriage returns": GOOD.replace(b"\n", b"\r\n"),
    "a control character": GOOD.replace(b"log", b"l\x07g", 1),
    "not UTF-8": GOOD.replace(b"log", b"l\xffg", 1),
    "cut off": GOOD[:-1],
    "a hyphen for the dash": GOOD.replace("—".encode(), b"-"),
    "two spaces": GOOD.replace("— ".encode(), "—  ".encode()),
    "base64 in another spelling": GOOD[:-3] + b"x" + GOOD[-2:],
    "something behind": GOOD + b"more\n",
    "no text": b"\n" + LINE,
    "more than 64 kB": TEXT + b"\n" + b"x" * 65536 + b"\n\n" + LINE,
    "more than 64 signatures": TEXT + b"\n\n" + LINE * 65,
}
NOT_CHECKPOINTS = {
    "two lines": f"{ORIGIN}\n5\n".encode(),
    "a size with a zero before": TEXT.replace(b"\n5\n", b"\n05\n") + b"\n",
    "a size with a sign": TEXT.replace(b"\n5\n", b"\n+5\n") + b"\n",
    "a negative size": TEXT.replace(b"\n5\n", b"\n-5\n") + b"\n",
    "a size of 2^63": TEXT.replace(b"\n5\n", b"\n9223372036854775808\n") + b"\n",
    "a size in other digits": TEXT.replace(b"\n5\n", "\n٥\n".encode()) + b"\n",
    "a root of 31 bytes": f"{ORIGIN}\n5\n{base64.b64encode(ROOT[:31]).decode()}\n".encode(),
    "a root without padding": TEXT.rstrip(b"=") + b"\n",
    "no origin": TEXT.replace(ORIGIN.encode(), b"") + b"\n",
}


def test_a_checkpoint_comes_back_with_its_time():
    assert Checkpoint.open(GOOD, LOG) == Checkpoint(ORIGIN, 5, ROOT, time=1_800_000_000)
    assert NoteKey.parse(LOG.vkey + "\n") == LOG


def test_further_lines_and_lines_of_strangers_mean_nothing():
    stranger = f"— stranger {base64.b64encode(b'12345678').decode()}\n".encode()
    assert Checkpoint.open(rebuilt(TEXT + b"\nmore\n") + stranger, LOG).size == 5


@pytest.mark.parametrize("defect", NOT_NOTES)
def test_what_is_no_note(defect: str):
    assert code_of(NOT_NOTES[defect]) == "E_NOTE_SYNTAX"


@pytest.mark.parametrize("defect", NOT_CHECKPOINTS)
def test_what_is_no_checkpoint_though_it_is_signed(defect: str):
    assert code_of(rebuilt(NOT_CHECKPOINTS[defect])) == "E_NOTE_SYNTAX"


def test_signatures_that_do_not_count():
    lines = f"— {ORIGIN} ".encode()
    wrong = lines + base64.b64encode(LOG.id + KEY.sign(b"something else")) + b"\n"
    assert code_of(TEXT + b"\n\n" + wrong) == "E_NOTE_SIG"
    assert code_of(TEXT + b"\n\n" + LINE + wrong) == "E_NOTE_SIG"
    assert code_of(GOOD.replace(b"\n5\n", b"\n6\n")) == "E_NOTE_SIG"
    assert code_of(GOOD, NoteKey(ORIGIN, OTHER.public)) == "E_LOG_KEY"
    assert code_of(GOOD, NoteKey("kolm.example/other", KEY.public)) == "E_LOG_KEY"
    timed = lines + base64.b64encode(LOG.timed_id + bytes(8) + KEY.sign(TEXT)) + b"\n"
    assert code_of(TEXT + b"\n\n" + LINE + timed) == "E_NOTE_SIG"
    short = lines + base64.b64encode(LOG.timed_id + b"1") + b"\n"
    assert code_of(TEXT + b"\n\n" + LINE + short) == "E_NOTE_SIG"


def timed(time: int, text: bytes = TEXT + b"\n", *, said: int | None = None) -> bytes:
    """The line by which the log signs a text with a time, or says another one beside it."""
    signature = KEY.sign(f"cosignature/v1\ntime {time}\n".encode() + text)
    data = LOG.timed_id + (time if said is None else said).to_bytes(8, "big") + signature
    return f"— {ORIGIN} {base64.b64encode(data).decode()}\n".encode()


@pytest.mark.parametrize("wrong", [timed(9, said=8), timed(9, b"another text\n")])
@pytest.mark.parametrize("first", [True, False])
def test_no_timed_line_of_the_key_may_be_wrong(wrong: bytes, first: bool):
    lines = wrong + timed(7) if first else timed(7) + wrong
    assert code_of(TEXT + b"\n\n" + LINE + lines) == "E_NOTE_SIG"


def test_of_two_times_that_the_log_signed_the_later_one_holds():
    for lines in (timed(7) + timed(9), timed(9) + timed(7)):
        assert Checkpoint.open(TEXT + b"\n\n" + LINE + lines, LOG).time == 9


def test_a_key_signs_for_its_own_log_only():
    assert code_of(rebuilt(TEXT.replace(ORIGIN.encode(), b"another/log") + b"\n")) == "E_LOG_ORIGIN"


NOT_KEYS = {
    "empty": "",
    "a key id of another key": LOG.vkey.replace(LOG.id.hex(), "00000000"),
    "a name with a space": LOG.vkey.replace("log", "l g"),
    "base64 cut off": LOG.vkey[:-1],
    "a key of another length": f"{ORIGIN}+00000000+AQID",
    "an algorithm that is not Ed25519": f"{ORIGIN}+00000000+{base64.b64encode(bytes([6]) + ROOT).decode()}",
    "a key of small order": f"{ORIGIN}+00000000+{base64.b64encode(bytes([1, 1]) + bytes(31)).decode()}",
}


OTHER_CODES = {
    "a key of another length": "E_KEY_TYPE",
    "an algorithm that is not Ed25519": "E_KEY_TYPE",
    "a key of small order": "E_KEY_WEAK",
}


@pytest.mark.parametrize("defect", NOT_KEYS)
def test_what_is_no_verifier_key(defect: str):
    with pytest.raises(CheckedError) as caught:
        NoteKey.parse(NOT_KEYS[defect])
    assert caught.value.check == OTHER_CODES.get(defect, "E_NOTE_SYNTAX")


ENTRIES = [b"%d" % at for at in range(300)]
FETCH = fetching(ENTRIES)
PROOF = LogProof(7, tuple(inclusion_proof(7, 300, TileReader(FETCH, 300))), FETCH("checkpoint") or b"")


def test_a_proof_says_what_is_in_the_log():
    assert LogProof.parse(PROOF.to_bytes()) == PROOF
    assert PROOF.check(b"7", LOG).size == 300
    with pytest.raises(VerificationError) as caught:
        PROOF.check(b"8", LOG)
    assert caught.value.check == "E_LOG_INCLUSION"


WRITTEN = PROOF.to_bytes()
NOT_PROOFS = {
    "empty": b"",
    "another first line": WRITTEN.replace(b"@v1", b"@v2"),
    "extra data": WRITTEN.replace(b"index", b"extra AAAA\nindex"),
    "no index": WRITTEN.replace(b"index 7\n", b""),
    "an index with a zero before": WRITTEN.replace(b"index 7", b"index 07"),
    "an index below zero": WRITTEN.replace(b"index 7", b"index -7"),
    "carriage returns": WRITTEN.replace(b"\n", b"\r\n"),
    "a hash cut off": WRITTEN.replace(b"=\n", b"\n", 1),
    "no checkpoint": WRITTEN.partition(b"\n\n")[0],
    "not UTF-8": WRITTEN.replace(b"index", b"\xff"),
    "64 hashes": WRITTEN.replace(b"index 7\n", b"index 7\n" + (base64.b64encode(ROOT) + b"\n") * 64),
}


@pytest.mark.parametrize("defect", NOT_PROOFS)
def test_what_is_no_proof(defect: str):
    with pytest.raises(ArtifactError) as caught:
        LogProof.parse(NOT_PROOFS[defect])
    assert caught.value.check == "E_NOTE_SYNTAX"
    assert "not a checkpoint" not in caught.value.message


def test_a_proof_that_is_too_large_is_told_so():
    with pytest.raises(ArtifactError, match="larger than 131072 bytes") as caught:
        LogProof.parse(WRITTEN + bytes(1 << 17))
    assert caught.value.check == "E_NOTE_SYNTAX"


def test_no_changed_byte_of_a_proof_is_accepted():
    for at in range(len(WRITTEN)):
        changed = bytearray(WRITTEN)
        changed[at] ^= 1 << at % 8
        with pytest.raises(CheckedError):
            LogProof.parse(bytes(changed)).check(b"7", LOG)


def test_a_proof_says_when_its_checkpoint_was_the_newest():
    for note in (
        PROOF.checkpoint.rpartition("—".encode())[0],
        rebuilt(Note.parse(PROOF.checkpoint).text.encode()),
    ):
        with pytest.raises(VerificationError) as caught:
            LogProof(PROOF.index, PROOF.hashes, note).check(b"7", LOG)
        assert caught.value.check == "E_LOG_STALE"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_what_is_read_is_what_is_written(data):
    try:
        note = Note.parse(data)
    except ArtifactError:
        return
    lines = "".join(f"— {name} {base64.b64encode(sig).decode()}\n" for name, sig in note.signatures)
    assert f"{note.text}\n{lines}".encode() == data

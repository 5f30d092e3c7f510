import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kolm.cid import cid_of
from kolm.errors import CheckedError, SigningError, SpecError, StorageError, VerificationError
from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.tlog.note import NoteKey
from kolm.trust import TrustStore, default_trust_dir, revoke, trust_key, trust_log

KEY = PrivateKey.generate().public
ID = KEY.key_id
CID = cid_of(b"an artifact")
LOG, OTHER_LOG = NoteKey("kolm-registry/first", KEY), NoteKey("kolm-registry/second", KEY)
VKEY = LOG.vkey
JANUARY, JUNE, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 6, 12))


def test_a_trusted_key_is_found_by_its_id(tmp_path):
    path = trust_key(tmp_path, KEY, label="the lab", from_=JANUARY, until=JUNE)
    store = TrustStore.open(tmp_path)
    found = store.key(ID)
    assert path == tmp_path / "keys" / f"{ID}.json"
    assert (found.public, found.from_, found.until, found.label) == (KEY, JANUARY, JUNE, "the lab")
    assert store.dir == tmp_path
    assert store.revoked(ID) is None
    assert store.policy == Policy(require_pass=False)
    assert set(json.loads(path.read_bytes())) == {"pem", "from", "until", "label"}


def test_a_window_includes_its_beginning_and_excludes_its_end(tmp_path):
    trust_key(tmp_path, KEY, from_=JANUARY, until=JUNE)
    key = TrustStore.open(tmp_path).key(ID)
    before = datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert [key.valid_at(at) for at in (before, JANUARY, JUNE, DECEMBER)] == [False, True, False, False]
    trust_key(tmp_path, KEY)
    assert TrustStore.open(tmp_path).key(ID).valid_at(DECEMBER)


def test_a_window_that_is_empty_is_refused(tmp_path):
    with pytest.raises(SigningError, match="never count"):
        trust_key(tmp_path, KEY, from_=JUNE, until=JUNE)


@pytest.mark.parametrize("store", [TrustStore.of(), TrustStore.open(Path("/nonexistent/trust"))])
def test_nobody_is_trusted_unless_named(store):
    with pytest.raises(VerificationError) as caught:
        store.key(ID)
    assert caught.value.check == "E_KEY_UNTRUSTED"
    assert "kolm key trust" in caught.value.hint


def test_keys_can_be_trusted_in_memory():
    store = TrustStore.of(KEY, policy=Policy(require_pass=True))
    assert store.key(ID).public == KEY
    assert store.dir is None
    assert store.policy.require_pass


def test_a_revocation_is_kept_with_its_first_reason(tmp_path):
    trust_key(tmp_path, KEY)
    revoke(tmp_path, ID, " stolen ")
    revoke(tmp_path, ID, "again")
    revoke(tmp_path, "0" * 64, "never seen here")
    store = TrustStore.open(tmp_path)
    found = store.revoked(ID)
    assert found is not None
    assert found.reason == "stolen"
    assert abs((found.at - datetime.now(UTC)).total_seconds()) < 60
    assert set(store.revocations) == {ID, "0" * 64}


def test_a_revoked_key_is_not_trusted_again(tmp_path):
    revoke(tmp_path, ID, "stolen")
    with pytest.raises(SigningError, match="revoked"):
        trust_key(tmp_path, KEY)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("keyid", "reason"),
    [("abc", "x"), (ID.upper(), "x"), (ID + "\n", "x"), (ID, "  ")],
    ids=["short", "upper case", "with a line break", "no reason"],
)
def test_a_revocation_names_a_key_and_a_reason(tmp_path, keyid, reason):
    with pytest.raises(SigningError):
        revoke(tmp_path, keyid, reason)
    assert list(tmp_path.iterdir()) == []


def row(**other: object) -> dict[str, object]:
    return {"pem": KEY.pem(), "from": None, "until": None} | other


@pytest.mark.parametrize(
    ("defect", "content"),
    [
        ("no JSON", b"nonsense"),
        ("no UTF-8", b"\xff"),
        ("deep beyond the interpreter", b"[" * 100_000),
        ("a list", b"[]"),
        ("a member missing", json.dumps({"pem": KEY.pem(), "from": None}).encode()),
        ("a member too many", json.dumps(row(note=1)).encode()),
        ("a name twice", json.dumps(row()).encode()[:-1] + b', "until": null}'),
        ("no PEM", json.dumps(row(pem="x")).encode()),
        ("a PEM that is a number", json.dumps(row(pem=1)).encode()),
        ("a label that is a number", json.dumps(row(label=1)).encode()),
        ("a time of another form", json.dumps(row(until="2026-01-01")).encode()),
        ("a time of fewer digits", json.dumps(row(until="2027-1-2T3:4:5Z")).encode()),
        ("a time that is a number", json.dumps(row(**{"from": 5})).encode()),
        ("another key than its name says", json.dumps(row(pem=PrivateKey.generate().public.pem())).encode()),
    ],
)
def test_a_key_file_that_cannot_be_understood_is_named(tmp_path, defect, content):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{ID}.json").write_bytes(content)
    with pytest.raises(SpecError, match=ID) as caught:
        TrustStore.open(tmp_path)
    assert caught.value.hint, defect


def test_a_weak_key_cannot_be_trusted(tmp_path):
    import base64

    der = bytes.fromhex("302a300506032b6570032100") + (1).to_bytes(32, "little")
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{ID}.json").write_text(json.dumps(row(pem=pem)))
    with pytest.raises(VerificationError) as caught:
        TrustStore.open(tmp_path)
    assert caught.value.check == "E_KEY_WEAK"
    assert ID in caught.value.message


def test_the_next_step_names_the_directory_that_was_asked(tmp_path):
    with pytest.raises(VerificationError) as caught:
        TrustStore.open(tmp_path).key(ID)
    assert f"kolm key trust KEY.pem --dir {tmp_path}" in caught.value.hint


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"abc": {"at": "2026-01-01T00:00:00Z", "reason": "x"}},
        {ID: {"at": None, "reason": "x"}},
        {ID: {"at": "2026-01-01T00:00:00Z"}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": 1}},
        {ID: "stolen"},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "more": 1}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "index": -1, "log": VKEY}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "index": None, "log": VKEY}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "index": True, "log": VKEY}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "index": 1}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "log": VKEY}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "index": 1, "log": None}},
        {ID: {"at": "2026-01-01T00:00:00Z", "reason": "x", "index": 1, "log": "a log"}},
        {ID: {"at": "2026-1-1T0:0:0Z", "reason": "x"}},
        {CID.upper(): {"at": "2026-01-01T00:00:00Z", "reason": "x"}},
    ],
)
def test_revocations_that_cannot_be_understood_are_not_ignored(tmp_path, document):
    (tmp_path / "revoked.json").write_text(json.dumps(document))
    with pytest.raises(SpecError, match=r"revoked\.json"):
        TrustStore.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "required"), [("require_pass: true\n", True), ("# nothing\n", False), ("", False)]
)
def test_the_policy_is_read(tmp_path, text, required):
    (tmp_path / "policy.yaml").write_text(text)
    assert TrustStore.open(tmp_path).policy.require_pass is required


@pytest.mark.parametrize(
    ("text", "share"), [("replay_mismatch: 0.2\n", 0.2), ("replay_mismatch: 0\n", 0.0), ("", 0.0)]
)
def test_the_policy_says_how_many_replayed_outputs_may_differ(tmp_path, text, share):
    (tmp_path / "policy.yaml").write_text(text)
    assert TrustStore.open(tmp_path).policy.replay_mismatch == share


@pytest.mark.parametrize(
    ("text", "log", "required"),
    [
        (None, False, False),
        (None, True, True),
        ("require_pass: true", True, True),
        ("require_log: false", True, False),
        ("require_log: true", False, True),
        ("log_max_age_days: 7", False, True),
        ("log_max_age_days: 7\nrequire_log: false", True, False),
    ],
)
def test_where_a_log_is_trusted_its_proof_is_required_unless_the_policy_says_otherwise(
    tmp_path, text, log, required
):
    if text is not None:
        (tmp_path / "policy.yaml").write_text(text)
    if log:
        trust_log(tmp_path, VKEY)
    assert TrustStore.open(tmp_path).policy.require_log is required


def test_the_policy_says_what_the_log_must_show(tmp_path):
    (tmp_path / "policy.yaml").write_text("require_log: true\nlog_max_age_days: 30\n")
    policy = TrustStore.open(tmp_path).policy
    assert (policy.require_log, policy.log_max_age_days) == (True, 30)
    assert Policy().log_max_age_days is None


@pytest.mark.parametrize(
    "text",
    [
        "require_pas: true",
        "require_pass: maybe",
        "require_log: 1",
        "log_max_age_days: -1",
        "log_max_age_days: true",
        "log_max_age_days: .inf",
        "log_max_age_days: ten",
        "replay_mismatch: 0.21",
        "replay_mismatch: -0.01",
        "replay_mismatch: .nan",
        "replay_mismatch: true",
        "replay_mismatch: '0.1'",
        "- a",
        "a: [",
        "require_pass: true\nrequire_pass: false",
        "\x00",
        "[]",
        "false",
        "0",
        "''",
        "---\nrequire_pass: true\n---\nrequire_log: true\n",
    ],
)
def test_a_policy_that_cannot_be_understood_is_not_ignored(tmp_path, text):
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"policy\.yaml") as caught:
        TrustStore.open(tmp_path)
    assert "\n" not in caught.value.message
    assert "require_log" in caught.value.hint


@pytest.mark.parametrize("name", ["policy.yaml", "revoked.json", "log.vkey", "keys"])
def test_a_link_that_leads_nowhere_is_not_an_absent_file(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / "unmounted")
    with pytest.raises(StorageError, match="no such file"):
        TrustStore.open(tmp_path)


def test_a_trust_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "keys").write_text("")
    with pytest.raises(StorageError, match="trust directory"):
        TrustStore.open(tmp_path)


def test_other_files_are_left_alone(tmp_path):
    trust_key(tmp_path, KEY)
    (tmp_path / "keys" / "notes.txt").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    assert set(TrustStore.open(tmp_path).keys) == {ID}


def test_one_log_is_trusted(tmp_path):
    assert TrustStore.open(tmp_path).log is None
    for name in ("kolm-registry/first", "kolm-registry/second"):
        key = NoteKey(name, KEY)
        path = trust_log(tmp_path, f" {key.vkey}\n")
        assert path.read_text() == f"{key.vkey}\n"
        assert TrustStore.open(tmp_path).log == key


@pytest.mark.parametrize("text", ["", "x", "name+00000000+AQ==", "\x00", "a b+00000000+AQ=="])
def test_a_log_key_that_cannot_be_understood_is_not_ignored(tmp_path, text):
    with pytest.raises(CheckedError):
        trust_log(tmp_path, text)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "log.vkey").write_text(text)
    with pytest.raises(SpecError, match=r"log\.vkey"):
        TrustStore.open(tmp_path)


def test_an_artifact_can_be_revoked_and_an_index_learnt_later(tmp_path):
    trust_log(tmp_path, VKEY)
    revoke(tmp_path, CID, "wrong labels")
    revoke(tmp_path, ID, "stolen", index=7)
    first = TrustStore.open(tmp_path)
    assert (first.revoked(CID).index, first.revoked(ID).index) == (None, 7)
    revoke(tmp_path, CID, "again", index=0)
    revoke(tmp_path, ID, "again", index=9)
    second = TrustStore.open(tmp_path)
    assert (second.revoked(CID).reason, second.revoked(CID).index) == ("wrong labels", 0)
    assert second.revoked(ID) == first.revoked(ID)


def test_an_index_is_kept_with_its_log_and_counts_in_no_other(tmp_path):
    revoke(tmp_path, ID, "stolen", index=7, log=LOG)
    trust_log(tmp_path, OTHER_LOG.vkey)
    found = TrustStore.open(tmp_path).revoked(ID)
    assert json.loads((tmp_path / "revoked.json").read_bytes())[ID]["log"] == VKEY
    assert [found.spares(index, log=LOG) for index in (0, 6, 7, None)] == [True, True, False, False]
    assert not any(found.spares(index, log=log) for index in (0, 6) for log in (OTHER_LOG, None))
    revoke(tmp_path, ID, "again", index=2)
    moved = TrustStore.open(tmp_path).revoked(ID)
    assert (moved.index, moved.log, moved.reason) == (2, OTHER_LOG, "stolen")


def test_an_index_of_no_log_is_refused(tmp_path):
    with pytest.raises(SigningError, match="of which log"):
        revoke(tmp_path, ID, "stolen", index=7)
    assert TrustStore.open(tmp_path).revocations == {}


REVOKING = """
import sys
from pathlib import Path
from kolm.trust import revoke
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 10):
    revoke(Path(sys.argv[1]), f"{number:064x}", "stolen")
"""


def test_revocations_that_come_at_once_are_all_kept(tmp_path):
    """From other processes, as `kolm key revoke` is beside a registry, and from threads."""
    begun = [
        subprocess.Popen([sys.executable, "-c", REVOKING, str(tmp_path), str(first)]) for first in (0, 10, 20)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: revoke(tmp_path, f"{number:064x}", "stolen"), range(30, 50)))
    assert [process.wait(60) for process in begun] == [0, 0, 0]
    assert set(TrustStore.open(tmp_path).revocations) == {f"{number:064x}" for number in range(50)}


def test_keys_without_time(tmp_path):
    trust_key(tmp_path, KEY, until=JANUARY)
    revoke(tmp_path, ID, "stolen")
    bare = TrustStore.open(tmp_path).timeless()
    assert bare.key(ID).valid_at(DECEMBER)
    assert bare.revoked(ID) is None


def test_a_lock_that_cannot_be_had_is_told(tmp_path):
    (tmp_path / "revoked.lock").mkdir()
    with pytest.raises(StorageError, match=r"cannot lock .*revoked\.lock"):
        revoke(tmp_path, ID, "stolen")
    assert not (tmp_path / "revoked.json").exists()


def test_the_default_is_in_the_home(kolm_home):
    assert default_trust_dir() == kolm_home / "trust"

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from kolm.cid import cid_of
from kolm.cli.key import app
from kolm.keys import PrivateKey, PublicKey, key_path, load_private, public_path
from kolm.revocation import open_revocation
from kolm.tlog.note import NoteKey
from kolm.trust import TrustStore, default_trust_dir, trust_log

LOG = NoteKey("kolm-registry/test", PrivateKey.generate().public).vkey


def run(*words: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == exit_code, result.output
    return result


def made(name: str = "default") -> str:
    return json.loads(run("new", "--name", name, "--unencrypted", "--json").stdout)["key_id"]


def test_a_new_key_can_sign_and_its_public_half_lies_beside_it(monkeypatch):
    monkeypatch.setenv("KOLM_KEY_PASSPHRASE", "correct horse")
    shown = run("new").stdout
    key = load_private(key_path(), passphrase=lambda: b"correct horse")
    public = PublicKey.from_pem(public_path(key_path()).read_text())
    assert public == key.public
    assert key.key_id in shown
    assert str(key_path()) in shown


def test_a_key_is_not_made_without_a_passphrase_unless_that_is_asked_for():
    result = run("new", exit_code=5)
    assert "needs a passphrase" in result.stderr
    assert not key_path().exists()
    made()
    assert "UNENCRYPTED" in run("list").stdout


def test_a_key_is_never_replaced():
    first = made()
    result = run("new", "--unencrypted", exit_code=5)
    assert "exists already" in result.stderr
    assert PublicKey.from_pem(public_path(key_path()).read_text()).key_id == first


def test_keys_are_listed_trusted_and_revoked():
    assert "kolm key new" in run("list").stdout
    keyid = made("lab")
    assert keyid in run("trust", str(public_path(key_path("lab"))), "--label", "the lab").stdout
    assert TrustStore.open(default_trust_dir()).key(keyid).label == "the lab"
    run("revoke", keyid, "--reason", "laptop lost")
    listed = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in listed["keys"]] == ["lab"]
    assert listed["keys"][0]["key_id"] == keyid
    assert [(row["key_id"], row["revoked"]) for row in listed["trusted"]] == [(keyid, "laptop lost")]
    assert "REVOKED: laptop lost" in run("list").stdout


def test_a_key_can_be_revoked_that_was_never_trusted(tmp_path):
    keyid = "0" * 64
    row = json.loads(run("revoke", keyid, "--reason", "known bad", "--dir", str(tmp_path), "--json").stdout)
    assert row["revoked"] == keyid
    assert keyid in run("list", "--dir", str(tmp_path)).stdout
    assert list(default_trust_dir().glob("*")) == []


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (("trust", "missing.pem"), 5, "no such file"),
        (("revoke", "abc", "--reason", "x"), 5, "neither a key id nor a CID"),
        (("new", "--name", "../x", "--unencrypted"), 5, "cannot name a key"),
        (("revoke", "0" * 64), 2, "--reason"),
    ],
)
def test_mistakes_end_in_one_message(words, exit_code, message):
    result = run(*words, exit_code=exit_code)
    assert message in result.stderr
    assert result.stdout == ""


def test_only_public_keys_are_trusted(tmp_path):
    made()
    assert "private key" in run("trust", str(key_path()), exit_code=5).stderr
    (tmp_path / "x.pem").write_bytes(b"\xff\xfe")
    assert "not a public key" in run("trust", str(tmp_path / "x.pem"), exit_code=5).stderr
    assert not default_trust_dir().exists()


def test_a_trust_directory_with_an_unknown_policy_is_not_used(kolm_home):
    (kolm_home / "trust").mkdir()
    (kolm_home / "trust" / "policy.yaml").write_text("require_pas: true")
    assert "policy.yaml" in run("list", exit_code=2).stderr


def test_a_log_is_trusted_and_listed():
    vkey = NoteKey("kolm-registry/test", PrivateKey.generate().public).vkey
    assert vkey in run("trust", "--log", vkey).stdout
    assert vkey in run("list").stdout
    assert json.loads(run("list", "--json").stdout)["log"] == vkey
    wrong = run("trust", "--log", "x", exit_code=2).stderr
    assert "'x' is not the key of a log" in wrong
    assert "kolm registry serve" in wrong
    assert "a log has no --label" in run("trust", "--log", vkey, "--label", "x", exit_code=2).stderr
    assert "name a key file, or a log" in run("trust", exit_code=2).stderr
    assert "name a key file, or a log" in run("trust", "x.pem", "--log", vkey, exit_code=2).stderr


def test_a_revocation_is_signed_for_a_registry(tmp_path):
    keyid, file = made(), tmp_path / "revocation.json"
    public = PublicKey.from_pem(public_path(key_path()).read_text())
    cid = cid_of(b"an artifact")
    trust_log(default_trust_dir(), LOG)
    for subject in (keyid, cid):
        run("revoke", subject, "--reason", "lost", "--index", "7", "--statement", str(file))
        found = open_revocation(file.read_bytes(), TrustStore.of(public), signers=lambda cid: {keyid})
        assert (found.subject, found.predicate.reason) == (subject, "lost")
        assert "what the log kolm-registry/test holds before entry 7 counts" in run("list").stdout
    revocations = TrustStore.open(default_trust_dir()).revocations
    assert {subject: entry.index for subject, entry in revocations.items()} == {keyid: 7, cid: 7}


def test_a_key_of_another_cannot_be_revoked_by_statement(tmp_path):
    made()
    words = ("revoke", "0" * 64, "--reason", "x", "--statement", str(tmp_path / "x.json"))
    assert "a key revokes itself" in run(*words, exit_code=5).stderr
    assert list(tmp_path.glob("*.json")) == []
    assert not default_trust_dir().exists()


def test_keys_are_rotated_on_a_day(tmp_path):
    made("old")
    made("next")
    old, following = (str(public_path(key_path(name))) for name in ("old", "next"))
    run("trust", old, "--label", "the lab")
    run("trust", old, "--until", "2026-12-01")
    shown = run("trust", following, "--label", "the lab", "--from", "2026-12-01T00:00:00Z", "--json").stdout
    assert json.loads(shown)["from"] == "2026-12-01T00:00:00Z"
    keys = {key.until: key for key in TrustStore.open(default_trust_dir()).keys.values()}
    day = datetime(2026, 12, 1, tzinfo=UTC)
    assert {key.label for key in keys.values()} == {"the lab"}
    assert (keys[day].from_, keys[None].from_) == (None, day)
    assert "the lab  until 2026-12-01T00:00:00Z" in run("list").stdout


def test_a_key_trusted_again_keeps_its_end_unless_that_is_lifted():
    made()
    file = str(public_path(key_path()))
    run("trust", file, "--until", "2026-12-01")
    assert "until 2026-12-01T00:00:00Z" in run("trust", file, "--label", "the lab").stdout
    assert "until" not in run("trust", file, "--until", "none").stdout


@pytest.mark.parametrize(
    "text", ["soon", "", "2026-13-01", "2026-12-01T00:00:00", "2026-12-01T00:00:00+01:00"]
)
def test_a_time_that_is_none_is_refused(text):
    made()
    result = run("trust", str(public_path(key_path())), "--until", text, exit_code=2)
    assert "is not a time" in result.stderr
    assert not default_trust_dir().exists()


def test_a_revocation_says_what_is_in_force(tmp_path):
    keyid = made()
    assert "which log?" in run("revoke", keyid, "--reason", "lost", "--index", "3", exit_code=5).stderr
    trust_log(default_trust_dir(), LOG)
    run("revoke", keyid, "--reason", "lost", "--index", "3")
    again = run("revoke", keyid, "--reason", "stolen", "--index", "9").stdout
    assert "lost (" in again
    assert "before entry 3 counts" in again
    listed = json.loads(run("list", "--json").stdout)
    assert [(row["subject"], row["reason"], row["index"], row["log"]) for row in listed["revoked"]] == [
        (keyid, "lost", 3, LOG)
    ]
    assert listed["trusted"] == []


def test_nothing_is_revoked_when_its_statement_cannot_be_written(tmp_path):
    keyid = made()
    file = str(tmp_path / "no" / "statement.json")
    assert "cannot write" in run("revoke", keyid, "--reason", "x", "--statement", file, exit_code=5).stderr
    assert not default_trust_dir().exists()


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_damaged_public_half_hides_no_other_key(content):
    made()
    keyid = made("other")
    public_path(key_path()).unlink()
    if content:
        public_path(key_path()).write_bytes(content)
    shown = run("list").stdout
    assert keyid in shown
    assert "(no public half beside it)" in shown


def test_a_file_that_is_no_key_is_named(tmp_path):
    (tmp_path / "x.pem").write_bytes(b"")
    assert "x.pem: this is not a public key" in run("trust", str(tmp_path / "x.pem"), exit_code=5).stderr
    assert "no folder at" in run("list", "--dir", str(tmp_path / "no"), exit_code=2).stderr

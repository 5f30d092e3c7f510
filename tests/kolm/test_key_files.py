import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kolm.errors import KolmError, SigningError, StorageError
from kolm.keys import (
    PrivateKey,
    is_encrypted,
    key_path,
    load_private,
    passphrase_source,
    public_path,
    save_private,
)
from tests.conftest import program

KEY = PrivateKey.generate()


def no_passphrase() -> bytes:
    pytest.fail("nobody must be asked for a passphrase")


# private keys on the disk


@pytest.mark.parametrize("secret", [None, b"correct horse"])
def test_a_saved_key_is_read_back_by_its_owner(tmp_path, secret):
    path = tmp_path / "keys" / "k.pem"
    save_private(KEY, path, passphrase=secret, rounds=1000)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert is_encrypted(path.read_bytes()) == (secret is not None)
    ask = (lambda: secret) if secret else no_passphrase
    assert load_private(path, passphrase=ask).key_id == KEY.key_id


def test_an_encrypted_key_costs_many_rounds_to_guess_at(tmp_path):
    openssl = program("openssl")
    path = tmp_path / "k.pem"
    save_private(KEY, path, passphrase=b"correct horse")
    shown = subprocess.run([openssl, "asn1parse", "-in", path], capture_output=True, text=True, check=True)
    assert ":PBKDF2" in shown.stdout
    assert ":hmacWithSHA256" in shown.stdout
    assert ":aes-256-cbc" in shown.stdout
    assert f":{600_000:06X}" in shown.stdout
    public = [openssl, "pkey", "-in", path, "-passin", "pass:correct horse", "-pubout"]
    assert subprocess.run(public, capture_output=True, text=True, check=True).stdout == KEY.public.pem()


def test_an_existing_key_is_never_replaced(tmp_path):
    path = tmp_path / "k.pem"
    save_private(KEY, path, passphrase=None)
    before = path.read_bytes()
    with pytest.raises(SigningError, match="exists already"):
        save_private(PrivateKey.generate(), path, passphrase=None)
    assert path.read_bytes() == before
    assert public_path(path).read_text() == KEY.public.pem()


def test_an_empty_passphrase_is_refused(tmp_path):
    with pytest.raises(SigningError, match="empty"):
        save_private(KEY, tmp_path / "k.pem", passphrase=b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644])
def test_a_key_that_others_can_read_is_not_used(tmp_path, mode):
    path = tmp_path / "k.pem"
    save_private(KEY, path, passphrase=None)
    path.chmod(mode)
    with pytest.raises(SigningError, match=f"{mode:04o}") as caught:
        load_private(path, passphrase=no_passphrase)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("answer", [b"wrong", b"", None])
def test_a_wrong_or_missing_passphrase_is_said(tmp_path, answer):
    save_private(KEY, tmp_path / "k.pem", passphrase=b"right", rounds=1000)
    with pytest.raises(SigningError, match="passphrase"):
        load_private(tmp_path / "k.pem", passphrase=lambda: answer)


def other_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("defect", "data"),
    [
        ("nothing", b""),
        ("no PEM", b"secret"),
        ("a public key", KEY.public.pem().encode()),
        ("another kind of key", other_key()),
        ("damaged", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("the old encrypted form", b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n"),
    ],
)
def test_a_file_that_is_no_private_key_is_refused(tmp_path, defect, data):
    path = tmp_path / "k.pem"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(SigningError) as caught:
        load_private(path, passphrase=no_passphrase)
    assert caught.value.hint, defect


def test_a_missing_key_says_how_to_make_one(tmp_path):
    with pytest.raises(SigningError) as caught:
        load_private(tmp_path / "k.pem", passphrase=no_passphrase)
    assert "kolm key new" in caught.value.hint


def test_keys_rest_in_the_home(kolm_home):
    assert key_path() == kolm_home / "keys" / "default.pem"
    assert public_path(key_path("release-2.0")) == kolm_home / "keys" / "release-2.0.pub.pem"


@pytest.mark.parametrize("name", ["", "../k", "a/b", ".k", "a b", "k.pub", "k\n", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(SigningError, match="cannot name a key"):
        key_path(name)


# passphrases


def test_the_environment_comes_first_then_a_file(monkeypatch, tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"from file\n")
    path.chmod(0o600)
    monkeypatch.setenv("KOLM_KEY_PASSPHRASE_FILE", str(path))
    assert passphrase_source(False)() == b"from file"
    monkeypatch.setenv("KOLM_KEY_PASSPHRASE", "from environment")
    assert passphrase_source(False)() == b"from environment"


def test_a_passphrase_file_that_others_can_read_is_not_used(monkeypatch, tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"from file\n")
    path.chmod(0o644)
    monkeypatch.setenv("KOLM_KEY_PASSPHRASE_FILE", str(path))
    with pytest.raises(SigningError, match="others can read"):
        passphrase_source(False)()
    monkeypatch.setenv("KOLM_KEY_PASSPHRASE_FILE", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="no such file"):
        passphrase_source(False)()


@pytest.mark.parametrize("prompt", [False, True])
def test_nobody_is_asked_off_a_terminal(prompt, monkeypatch):
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(SigningError) as caught:
            passphrase_source(prompt)()
    assert "KOLM_KEY_PASSPHRASE" in caught.value.hint
    assert isinstance(caught.value, KolmError)


@pytest.mark.parametrize(
    ("second", "result"), [("one two", "b'one two'"), ("one three", "the two passphrases differ")]
)
def test_a_new_passphrase_is_asked_for_twice_on_a_terminal(second, result):
    code = (
        "from kolm.errors import SigningError; from kolm.keys import passphrase_source\n"
        "try: print('ANSWER', passphrase_source(True, confirm=True)())\n"
        "except SigningError as err: print('ANSWER', err.message)"
    )
    root = Path(__file__).resolve().parents[2]
    child, terminal = pty.fork()
    if child == 0:
        environment = os.environ | {"PYTHONPATH": str(root)}
        os.execve(sys.executable, [sys.executable, "-c", code], environment)  # noqa: S606
    shown = ""
    for asked, answer in (("key: ", "one two"), ("again: ", second)):
        while asked not in shown:
            shown += os.read(terminal, 1000).decode()
        os.write(terminal, f"{answer}\n".encode())
    while "ANSWER" not in shown or not shown.endswith("\n"):
        shown += os.read(terminal, 1000).decode()
    os.waitpid(child, 0)
    os.close(terminal)
    assert f"ANSWER {result}" in shown
    assert "one t" not in shown.split("ANSWER")[0]

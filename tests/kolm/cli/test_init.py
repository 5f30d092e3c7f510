import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from kolm.cli.init import init
from kolm.keys import PublicKey, is_encrypted, key_path, load_private, passphrase_source, public_path
from kolm.spec import load_spec
from kolm.trust import TrustStore, default_trust_dir

SMALL = ("--demo", "digits", "--train-rows", "2", "--eval-rows", "2")


def call(*words: object) -> Result:
    app = typer.Typer()
    app.command()(init)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_demo_is_written_with_a_key_that_is_trusted(tmp_path: Path) -> None:
    done = call(*SMALL, tmp_path / "d")
    assert done.exit_code == 0, done.output
    assert f"kolm compile {tmp_path / 'd' / 'spec.yaml'}" in done.stdout
    assert load_spec(tmp_path / "d" / "spec.yaml").spec.name == "digits"
    key = load_private(key_path(), passphrase=passphrase_source(prompt=False))
    assert TrustStore.open(default_trust_dir()).key(key.key_id).public == key.public
    assert PublicKey.from_pem(public_path(key_path()).read_text()) == key.public
    assert not is_encrypted(key_path().read_bytes())
    assert str(key_path()) in done.stderr
    assert str(default_trust_dir()) in done.stderr


def test_key_that_is_there_stays(tmp_path: Path) -> None:
    made = json.loads(call(*SMALL, tmp_path / "a", "--json").stdout)
    before = key_path().read_bytes()
    again = json.loads(call(*SMALL, tmp_path / "b", "--json").stdout)
    assert len(made["key"]) == 64
    assert (again["key"], key_path().read_bytes()) == (None, before)


def test_key_is_encrypted_where_a_passphrase_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOLM_KEY_PASSPHRASE", "correct horse")
    call(*SMALL, tmp_path / "d")
    assert is_encrypted(key_path().read_bytes())


def test_a_key_that_cannot_be_made_leaves_no_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOLM_KEY_PASSPHRASE_FILE", str(tmp_path / "missing"))
    done = call(*SMALL, tmp_path / "d")
    assert done.exit_code == 5, done.output
    assert not (tmp_path / "d").exists()
    assert not key_path().exists()


@pytest.mark.parametrize("kept", ["keys", "trust"])
def test_a_folder_of_keys_that_is_a_file_leaves_no_demo(tmp_path: Path, kept: str) -> None:
    path = {"keys": key_path().parent, "trust": default_trust_dir()}[kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not a folder")
    done = call(*SMALL, tmp_path / "d")
    assert done.exit_code == 5, done.output
    assert not (tmp_path / "d").exists()
    assert not key_path().exists()


def test_nothing_but_the_key_is_left_beside_it(tmp_path: Path) -> None:
    call(*SMALL, tmp_path / "d")
    assert {*key_path().parent.iterdir()} == {key_path(), public_path(key_path())}
    assert key_path().stat().st_mode & 0o777 == 0o600
    assert not [path for path in default_trust_dir().iterdir() if path.name.startswith(".staging")]


BAD_CALLS = {
    "unknown demo": (("--demo", "sudoku"), "no demo 'sudoku'"),
    "unknown base": ((*SMALL, "--base", "gpt"), "no base 'gpt'"),
    "no rows": (("--demo", "digits", "--train-rows", "0"), "1200 training"),
}


@pytest.mark.parametrize(("words", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_call_writes_neither_folder_nor_key(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = call(*words, tmp_path / "d")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "d").exists()
    assert not key_path().exists()

"""Containers that are read before anybody asks for them."""

import subprocess
import sys
from pathlib import Path

import pytest

from kolm.cid import cid_of
from kolm.container import Zip64, ahead, write_container
from kolm.container.layout import MANIFEST, Entry, local_header
from kolm.errors import ArtifactError, StorageError


def test_what_was_begun_is_what_is_opened_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "x.kolm"
    cid = write_container(path, {MANIFEST: b"1" * 1_000_000})
    ahead.begin(path)
    opening = ahead.opening(path)
    with opening.result() as container:
        assert container.cid == cid
    path.unlink()
    with pytest.raises(StorageError):
        ahead.opening(path).result()


def test_what_is_wrong_is_said_to_whoever_asks(tmp_path: Path) -> None:
    path = tmp_path / "x.kolm"
    path.write_bytes(b"PK\x03\x04 and no more")
    ahead.begin(path)
    with pytest.raises(ArtifactError) as caught:
        ahead.opening(path).result()
    assert caught.value.check == "E_ZIP_TRUNCATED"


def test_a_file_that_nobody_asked_for_is_opened_when_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.kolm"
    write_container(path, {MANIFEST: b"1"})
    assert ahead.opening(path).result().cid == cid_of(path.read_bytes())


def test_a_command_that_ends_does_not_wait_for_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "x.kolm"
    with path.open("wb") as file:  # nothing, at a size whose hash takes longer than the limit below
        file.write(local_header(Entry(MANIFEST, 0, 30 << 30, 0), zip64=Zip64()))
        file.truncate(31 << 30)
    command = [sys.executable, "-m", "kolm", "verify", path, "--help"]
    assert subprocess.run(command, check=False, capture_output=True, timeout=12).returncode == 0


def test_a_name_that_no_file_can_have_is_refused_in_words() -> None:
    command = [sys.executable, "-m", "kolm", "verify", "a" * 400 + ".kolm"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (5, False), done.stderr
    assert "File name too long" in done.stderr

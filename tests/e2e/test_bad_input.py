"""Bad input ends in one clear message, its exit code, and nothing half-written."""

import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import edit, kolm


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A fresh short demo with a key of its own; returns its spec."""
    result = kolm("init", "--demo", "digits", tmp_path / "digits", "--train-rows", "4", "--eval-rows", "2")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "digits" / "spec.yaml"


def refused(spec: Path, *, code: int, says: str) -> None:
    """Compile, expect one message that says `says` and an exit code, and no output."""
    out = spec.parent.parent / "out"
    result = kolm("compile", spec, "--out", out)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert (result.exit_code, len(errors)) == (code, 1), result.stderr
    assert says in result.stderr
    assert "hint:" in result.stderr
    assert "Traceback" not in result.stderr
    assert "" not in result.stderr.splitlines(), "no empty line"
    assert result.stdout == ""
    assert not out.exists() or not list(out.iterdir())


def test_a_misspelt_key_is_shown_with_line_column_and_suggestion(demo: Path):
    text = demo.read_text().replace("lora_alpha", "lora_aplha")
    demo.write_text(text)
    line = 1 + text[: text.index("lora_aplha: 32")].count("\n")
    refused(demo, code=2, says=f"spec.yaml:{line}:3")
    assert "did you mean `lora_alpha`?" in kolm("compile", demo).stderr


@pytest.mark.parametrize("model", ["acme/unheard-of-7b", "base/no-such-folder-here/at-all"])
def test_an_unknown_model_is_refused_before_anything_is_loaded(demo: Path, model: str):
    edit(demo, model=model)
    refused(demo, code=2, says=model)


def test_a_missing_image_is_named_with_its_row(demo: Path):
    first = json.loads((demo.parent / "train/pairs.jsonl").read_text().splitlines()[0])
    (demo.parent / "train" / first["image"]).unlink()
    refused(demo, code=6, says="row 1")


def test_a_row_that_does_not_fit_is_named_after_the_plan(demo: Path):
    edit(demo, max_seq_length="12")
    refused(demo, code=6, says="do not fit max_seq_length 12")


def test_an_empty_eval_pack_is_refused(demo: Path):
    (demo.parent / "eval/pack.jsonl").write_text("")
    refused(demo, code=6, says="eval pack digits is empty")


def png(width: int, height: int) -> bytes:
    """A well-formed PNG header that promises this many pixels and holds almost none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data", [png(50_000, 50_000), b"", b"no picture", png(8, 8)], ids=["bomb", "empty", "text", "truncated"]
)
def test_a_hostile_picture_is_refused_with_its_row(demo: Path, data: bytes):
    first = json.loads((demo.parent / "train/pairs.jsonl").read_text().splitlines()[0])
    (demo.parent / "train" / first["image"]).write_bytes(data)
    refused(demo, code=6, says="row 1")


def test_an_address_without_a_registry_is_refused_before_training(demo: Path):
    result = kolm("compile", demo, "--out", demo.parent / "out", "--registry", "http://127.0.0.1:9")
    assert result.exit_code == 5
    assert "http://127.0.0.1:9" in result.stderr
    assert not (demo.parent / "out").exists()


def test_a_taken_port_is_one_line(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = kolm("registry", "serve", "--port", str(port), "--data", tmp_path / "data")
    assert result.exit_code == 5
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_key_is_said_before_training(demo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path / "empty"))
    refused(demo, code=5, says="kolm key new")


def small_files() -> None:
    """Let no file grow beyond 64 kB, as a full disk would not."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


def run_process(
    spec: Path, out: Path, *, limit: Callable[[], None] | None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kolm", "compile", str(spec), "--out", str(out)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=limit, env={**os.environ}
    )


def test_a_disk_that_fills_up_while_the_adapter_is_written_leaves_nothing(demo: Path):
    edit(demo, num_train_epochs="1")
    out = demo.parent / "out"
    result = run_process(demo, out, limit=small_files)
    assert result.returncode == 5, result.stderr
    assert "Traceback" not in result.stderr
    assert "error: cannot write" in result.stderr
    assert list(out.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_file_system_leaves_nothing(demo: Path, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a file system")
    try:
        edit(demo, num_train_epochs="1")
        result = run_process(demo, disk / "out", limit=None)
        assert result.returncode == 5, result.stderr
        assert "the disk is full" in result.stderr
        assert "Traceback" not in result.stderr
        assert list((disk / "out").iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_a_run_that_fails_leaves_the_files_of_the_run_before(demo: Path, tmp_path: Path):
    out = demo.parent.parent / "out"
    out.mkdir()
    earlier = out / "digits.kolm"
    earlier.write_bytes(b"an earlier result")
    shutil.rmtree(demo.parent / "eval/images")
    assert kolm("compile", demo, "--out", out).exit_code == 6
    assert [path.name for path in out.iterdir()] == ["digits.kolm"]
    assert earlier.read_bytes() == b"an earlier result"

"""The hooks that read files, run as pre-commit would: on names, without a network."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kolm.keys import PrivateKey, save_private

ROOT = Path(__file__).resolve().parents[1]
HOOKS = {
    hook["id"]: hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repo["hooks"]
}


@pytest.mark.parametrize(("size", "refused"), [(5_000_000, False), (5_000_001, True)])
def test_a_large_file_is_refused(tmp_path: Path, size: int, refused: bool):
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "model.bin").write_bytes(bytes(size))
    _, *words = shlex.split(HOOKS["no-large-files"]["entry"])
    names = [str(tmp_path / name) for name in ("small", "model.bin")]
    done = subprocess.run([sys.executable, *words, *names], capture_output=True, text=True, check=False)
    assert bool(done.returncode) == refused
    assert ("model.bin" in done.stderr) == refused
    assert "small" not in done.stderr


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_private_key_is_refused(tmp_path: Path, passphrase: bytes | None):
    save_private(PrivateKey.generate(), tmp_path / "key.pem", passphrase=passphrase)
    pattern = re.compile(HOOKS["no-private-keys"]["entry"].encode())
    assert HOOKS["no-private-keys"]["language"] == "pygrep"
    assert any(pattern.search(line) for line in (tmp_path / "key.pem").read_bytes().splitlines())
    assert not any(pattern.search(line) for line in Path(__file__).read_bytes().splitlines())

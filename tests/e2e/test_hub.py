"""A base from a hub, from the spec to an answer: as a user has it, configured by the environment."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.digits import LLAVA
from tests.hub.server import Hub, files_of


@pytest.mark.slow
def test_a_branch_of_the_hub_is_compiled_verified_and_asked_offline(tmp_path: Path, kolm_home: Path):
    variables = {"HF_HOME": str(tmp_path / "hf"), "KOLM_HOME": str(kolm_home), "HF_HUB_DISABLE_XET": "1"}
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | variables

    def kolm(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kolm", *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True, env={**env, **more})

    kolm("init", "--demo", "digits", tmp_path / "demo", "--train-rows", "8", "--eval-rows", "4")
    spec, artifact = tmp_path / "demo" / "spec.yaml", tmp_path / "out" / "digits.kolm"
    with Hub() as hub:
        commit = hub.add("org/llava-tiny", files_of(LLAVA))
        base = "base: {model: org/llava-tiny, revision: main}"
        text = re.sub(r"base:\n  model: .*", base, spec.read_text())
        spec.write_text(re.sub(r"num_train_epochs: \d+", "num_train_epochs: 1", text))
        compiled = kolm("compile", spec, "--out", artifact.parent, HF_ENDPOINT=hub.url)
    assert compiled.returncode == 4, compiled.stderr  # four rows decide nothing
    assert f"base.revision `main` is {commit} today" in compiled.stderr
    (snapshot,) = (tmp_path / "hf").glob("hub/models--*/snapshots/*")
    verified = kolm("verify", artifact, "--base", snapshot, "--json")
    assert verified.returncode == 0, verified.stdout
    inspected = json.loads(kolm("inspect", artifact, "--json").stdout)
    assert inspected["base"] == {"model": "org/llava-tiny", "revision": commit, "licence": "apache-2.0"}
    image = next((tmp_path / "demo").rglob("*.png"))
    asked = kolm("run", artifact, "--image", image, "--prompt", "Which digit?", HF_HUB_OFFLINE="1")
    assert asked.returncode == 0, asked.stderr

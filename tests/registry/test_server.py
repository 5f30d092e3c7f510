"""`kolm registry serve` and `kolm push|pull|search` as processes: lines, exit codes, signals, imports."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from kolm.cli import app
from kolm.keys import load_private
from kolm.trust import trust_key
from tests.bundles import Bundle, make_bundle
from tests.registry.conftest import serving
from tests.registry.offers import make_offer

KOLM = [sys.executable, "-m", "kolm"]
EVERYWHERE = "0.0.0.0"  # noqa: S104 - the warning about it is what is tested
READY = re.compile(r"registry on (http://127\.0\.0\.1:\d+) data (\S+) trust (\S+)\n")


def kolm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_push_that_brings_no_proof_says_so(tmp_path: Path):
    offer, lying = make_offer(tmp_path / "offer"), FastAPI()
    said = {"cid": offer.cid, "receipt": offer.receipt_cid, "created": True, "verdict": "PASS", "k": 0.9}
    lying.post("/v1/artifacts")(lambda: said | {"log": {"index": 0, "size": 1}})
    with serving(lying) as url:
        answer = kolm("push", offer.artifact, "--receipt", offer.receipt, "--registry", url)
    assert (answer.exit_code, answer.stdout) == (0, f"{offer.cid}\n"), answer.stderr
    assert "the registry gave no proof that it logged the receipt" in answer.stderr
    assert not offer.artifact.with_suffix(".proof").exists()


@contextmanager
def served(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `kolm registry serve` on a free port and yield the process and the line it prints."""
    command = [*KOLM, "registry", "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def test_a_session_of_serve_push_search_pull(bundle: Bundle, tmp_path: Path):
    data, trust = tmp_path / "data", tmp_path / "trust"
    trust_key(trust, bundle.key.public)
    with served("--data", data, "--trust", trust) as (process, line):
        match = READY.fullmatch(line)
        assert match, line
        assert match[2] == str(data)
        assert match[3] == str(trust)
        at = ["--registry", match[1]]
        pushed = kolm("push", bundle.artifact_path, "--receipt", bundle.receipt_path, *at)
        assert (pushed.exit_code, pushed.stdout) == (0, f"{bundle.cid}\n"), pushed.stderr
        found = kolm("search", *at, "--frozen", "visual", "--json")
        assert [item["cid"] for item in json.loads(found.stdout)["items"]] == [bundle.cid]
        nothing = kolm("search", *at, "--trainable", "visual")
        assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "no artifact matches\n")
        listed = kolm("search", *at, "--min-k", "0.1").stdout
        assert listed.startswith(f"{bundle.cid}  K 0.")
        pulled = kolm("pull", bundle.cid, *at, "--out", tmp_path / "out", "--json")
        files = json.loads(pulled.stdout)
        assert Path(files["artifact"]).read_bytes() == bundle.artifact_path.read_bytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_what_was_stored_is_there_after_a_restart(bundle: Bundle, tmp_path: Path):
    options = ["--data", tmp_path / "data", "--trust", tmp_path / "trust"]
    trust_key(tmp_path / "trust", bundle.key.public)
    with served(*options) as (process, line):
        url = line.split()[2]
        assert (
            kolm("push", bundle.artifact_path, "--receipt", bundle.receipt_path, "--registry", url).exit_code
            == 0
        )
        process.kill()
    with served(*options) as (process, line):
        url = line.split()[2]
        assert httpx.get(f"{url}/v1/artifacts/{bundle.cid}").content == bundle.artifact_path.read_bytes()
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


def test_a_taken_port_is_one_clear_line(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = kolm(
            "registry", "serve", "--port", str(port), "--data", tmp_path / "data", "--trust", tmp_path
        )
    assert answer.exit_code == 5
    assert answer.stdout == ""
    first, second = answer.stderr.splitlines()
    assert first == f"error: 127.0.0.1:{port}: cannot listen there: address already in use"
    assert "--port 0" in second
    assert not (tmp_path / "data").exists()


def test_a_data_directory_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    answer = kolm(
        "registry", "serve", "--port", "0", "--data", tmp_path / "file" / "data", "--trust", tmp_path
    )
    assert answer.exit_code == 5
    assert "error: cannot make the folder" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_address_to_listen_on_that_is_none(tmp_path: Path):
    answer = kolm(
        "registry", "serve", "--host", "nowhere.invalid", "--port", "0", "--data", tmp_path / "data"
    )
    assert answer.exit_code == 5
    assert answer.stderr.startswith("error: nowhere.invalid: not an address")


def test_nobody_trusted_and_everybody_reached_are_warned_about(tmp_path: Path):
    with served("--host", EVERYWHERE, "--data", tmp_path / "data", "--trust", tmp_path / "none") as (
        process,
        line,
    ):
        assert line.startswith("registry on http://0.0.0.0:")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=15)
    named = load_private(tmp_path / "data" / "registry.pem", passphrase=lambda: None).key_id
    assert f"summary key {named}\n" in said
    assert re.search(r"^log\.vkey kolm-registry/\S+\+[0-9a-f]{8}\+\S+$", said, re.MULTILINE)
    assert "no key is trusted yet" in said
    assert "anyone who reaches this address" in said


@pytest.mark.parametrize("command", ["push", "pull", "search"])
def test_a_wrong_address_is_one_message_and_exit_5(bundle: Bundle, tmp_path: Path, command: str):
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        at = ["--registry", f"http://127.0.0.1:{idle.getsockname()[1]}"]
        arguments = {
            "push": [bundle.artifact_path, "--receipt", bundle.receipt_path],
            "pull": [bundle.cid, "--out", tmp_path / "out"],
            "search": [],
        }[command]
        answer = kolm(command, *arguments, *at)
        as_json = kolm(command, *arguments, *at, "--json")
    assert answer.exit_code == as_json.exit_code == 5
    assert answer.stdout == ""
    assert "cannot connect" in answer.stderr
    assert "hint: " in answer.stderr
    assert json.loads(as_json.stdout)["error"]["kind"] == "RegistryError"
    assert not any((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("registry", "fastapi starlette sqlalchemy uvicorn httpx torch"),
        ("registry.client", "fastapi starlette sqlalchemy uvicorn torch transformers"),
        ("registry.app", "torch transformers peft accelerate"),
        ("kolm.cli.store", "httpx fastapi sqlalchemy torch"),
        ("kolm.cli.registry", "httpx fastapi sqlalchemy torch"),
    ],
)
def test_importing_loads_no_more_than_it_needs(module: str, unwanted: str):
    code = f"import sys, {module}; print([name for name in {unwanted.split()} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert answer.stdout.strip() == "[]"

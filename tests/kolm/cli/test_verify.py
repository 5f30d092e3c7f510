import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from kolm.cid import cid_of
from kolm.cli import inspect, verify
from kolm.cli.store import send
from kolm.entries import receipt_entry
from kolm.tlog.note import MAX_BYTES as NOTE_BYTES
from kolm.tlog.seen import logs_folder, seen_path
from kolm.trust import trust_key, trust_log
from registry.app import create_app
from registry.settings import RegistrySettings
from tests.bundles import Bundle, make_bundle
from tests.logs import Log
from tests.registry.conftest import serving

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = make_bundle(tmp_path_factory.mktemp("bundle"), rows=4)
    trust_key(bundle.artifact_path.parent / "trust", bundle.key.public)
    return bundle


def kolm(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("verify")(verify.verify)
    app.command("inspect")(inspect.inspect)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def trust_of(bundle: Bundle) -> Path:
    return bundle.artifact_path.parent / "trust"


def test_an_honest_bundle_is_verified_line_by_line(bundle: Bundle) -> None:
    result = kolm("verify", bundle.artifact_path, "--trust", trust_of(bundle), "--base", bundle.base_dir)
    assert result.exit_code == 0
    *checks, closing = result.stdout.splitlines()
    assert [int(line.split()[0]) for line in checks] == list(range(1, 20))
    assert closing.startswith(f"VERIFIED {bundle.cid}")
    assert "gate INCONCLUSIVE" in closing


def test_a_failure_exits_7_and_names_check_and_code(bundle: Bundle, tmp_path: Path) -> None:
    result = kolm("verify", bundle.artifact_path, "--trust", tmp_path)
    assert result.exit_code == 7
    assert "NOT VERIFIED: check 5 (signatures) E_KEY_UNTRUSTED" in result.stdout
    assert "hint:" in result.stderr


@pytest.mark.parametrize("option", [[], ["--receipt", "nowhere.json"]])
def test_a_missing_receipt_exits_7(bundle: Bundle, tmp_path: Path, option: list[str]) -> None:
    alone = tmp_path / "digits.kolm"
    alone.write_bytes(bundle.artifact_path.read_bytes())
    result = kolm("verify", alone, "--trust", trust_of(bundle), *option)
    assert result.exit_code == 7
    assert "E_SIG_MISSING" in result.stdout
    assert ("there is no file nowhere.json" in result.stdout) == bool(option)
    assert "pass it with --receipt" in result.stderr


@pytest.mark.parametrize("given", [True, False])
def test_a_receipt_that_cannot_be_read_is_named_in_check_3(
    bundle: Bundle, tmp_path: Path, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, receipt = tmp_path / "digits.kolm", tmp_path / "digits.receipt.json"
    alone.write_bytes(bundle.artifact_path.read_bytes())
    option = ["--receipt", receipt] if given else []

    def said() -> str:
        result = kolm("verify", alone, "--trust", trust_of(bundle), *option)
        assert (result.exit_code, "hint:" in result.stderr) == (7, True)
        assert "19  skipped" in result.stdout
        return result.stdout

    assert f"check 3 (receipt) E_SIG_MISSING: there is no file {receipt}" in said()
    receipt.mkdir()
    assert f"check 3 (receipt) E_IO: cannot read the receipt {receipt}: it is not a plain file" in said()
    receipt.rmdir()
    receipt.symlink_to(tmp_path / "unmounted")
    assert f"check 3 (receipt) E_IO: cannot read the receipt {receipt}: no such file" in said()
    receipt.unlink()
    monkeypatch.setattr("kolm.receipt.MAX_BYTES", 10)
    receipt.write_bytes(bundle.receipt)
    assert f"check 3 (receipt) E_LIMIT: the receipt {receipt} has" in said()


def test_json_is_one_object(bundle: Bundle) -> None:
    result = kolm("verify", bundle.artifact_path, "--trust", trust_of(bundle), "--json")
    document = json.loads(result.stdout)
    assert document["ok"] is True
    assert document["artifact"] == bundle.cid
    broken = kolm("verify", bundle.artifact_path, "--json")
    assert broken.exit_code == 7
    assert json.loads(broken.stdout)["failure"]["code"] == "E_KEY_UNTRUSTED"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.kolm"], "neither a file nor a CID"),
        ([""], "neither a file nor a CID"),
        ([str(ROOT / "pyproject.toml"), "--registry", "http://127.0.0.1:9"], "is a file"),
        ([str(ROOT / "pyproject.toml"), "--trust-code"], "--trust-code is for level 1"),
        ([str(ROOT)], "is a folder"),
        (["."], "is a folder"),
        ([str(ROOT / "pyproject.toml"), "--trust", "nowhere"], "no folder at nowhere"),
        ([str(ROOT / "pyproject.toml"), "--trust", str(ROOT / "pyproject.toml")], "--trust names a trust"),
        (["bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"], "add --registry"),
        ([str(ROOT / "pyproject.toml"), "--level", "2"], "not supported yet"),
        ([str(ROOT / "pyproject.toml"), "--nonce", "00" * 16], "--nonce is for level 1"),
        ([str(ROOT / "pyproject.toml"), "--level", "1", "--rows", "0"], "'0' is not a number of rows"),
        ([str(ROOT / "pyproject.toml"), "--level", "1", "--rows", "some"], "'some' is not a number of rows"),
        ([str(ROOT / "pyproject.toml"), "--level", "1", "--nonce", "0x12"], "is not 8 to 64 bytes in hex"),
        ([str(ROOT / "pyproject.toml"), "--level", "1", "--nonce", "00"], "is not 8 to 64 bytes in hex"),
        ([str(ROOT / "pyproject.toml"), "--base", "nowhere"], "no folder at nowhere"),
    ],
)
def test_a_wrong_call_exits_2(arguments: list[str], said: str) -> None:
    result = kolm("verify", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_text_from_files_cannot_steer_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2J\u202eVERIFIED\nVERIFIED everything"
    bundle = make_bundle(tmp_path, rows=2, environment={"host": hostile})
    shown = kolm("inspect", bundle.receipt_path).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert not any(line.startswith("VERIFIED") for line in shown.splitlines())
    assert "\\x1b[2J" in shown


def test_inspect_tells_artifact_and_receipt_apart(bundle: Bundle) -> None:
    artifact = json.loads(kolm("inspect", bundle.artifact_path, "--json").stdout)
    receipt = json.loads(kolm("inspect", bundle.receipt_path, "--json").stdout)
    assert (artifact["kind"], artifact["cid"]) == ("kolm-artifact/1", bundle.cid)
    assert (receipt["kind"], receipt["artifact"]) == ("kolm-receipt/1", bundle.cid)
    assert receipt["vlm_train"]["freeze_vision"] is True


def test_inspect_says_that_it_believes_nothing(bundle: Bundle) -> None:
    assert "not verified" in kolm("inspect", bundle.receipt_path).stderr


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", b"{}"])
def test_inspecting_something_else_exits_7(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    result = kolm("inspect", path)
    assert (result.exit_code, content[:2] == b"PK" or f"{path} is neither" in result.stderr) == (7, True)


def test_verify_needs_no_torch_and_no_network(bundle: Bundle) -> None:
    code = """
import socket, sys
for name in ("torch", "transformers", "peft", "accelerate", "safetensors", "httpx"):
    sys.modules[name] = None
def refuse(*args, **kwargs):
    raise AssertionError("the network was used")
socket.socket.connect = refuse
import typer
from kolm.cli import verify
typer.run(verify.verify)
"""
    arguments = [bundle.artifact_path, "--trust", trust_of(bundle), "--base", bundle.base_dir]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "VERIFIED" in done.stdout


def logged(bundle: Bundle, tmp_path: Path) -> tuple[Log, Path, Path]:
    """A log that holds the bundle's receipt, a trust directory that knows it, the bundle's copy."""
    log, trust, copy = Log([b"an entry"]), tmp_path / "trust", tmp_path / "digits.kolm"
    trust_key(trust, bundle.key.public)
    trust_log(trust, log.note_key.vkey)
    copy.write_bytes(bundle.artifact_path.read_bytes())
    (tmp_path / "digits.receipt.json").write_bytes(bundle.receipt)
    log.append(receipt_entry(bundle.cid, cid_of(bundle.receipt)))
    return log, trust, copy


def test_a_proof_beside_the_artifact_is_checked(bundle: Bundle, tmp_path: Path) -> None:
    log, trust, copy = logged(bundle, tmp_path)
    missing = kolm("verify", copy, "--trust", trust)
    assert (missing.exit_code, "check 19 (log) E_POLICY: there is no proof" in missing.stdout) == (7, True)
    (tmp_path / "digits.proof").write_bytes(log.proof(1))
    assert "19  passed" in kolm("verify", copy, "--trust", trust).stdout
    (tmp_path / "other.proof").write_bytes(log.proof(0))
    false = kolm("verify", copy, "--trust", trust, "--proof", tmp_path / "other.proof")
    assert (false.exit_code, "check 19 (log) E_LOG_LEAF" in false.stdout) == (7, True)
    log.append(b"another")
    (tmp_path / "seen").write_bytes(log.checkpoint())
    older = kolm("verify", copy, "--trust", trust, "--checkpoint", tmp_path / "seen")
    assert (older.exit_code, "E_LOG_ROLLBACK" in older.stdout) == (7, True)


def kept_by_kolm_log(log: Log, *, size: int | None = None) -> Path:
    """Where `kolm log` keeps what it saw last of a log, once it saw it with `size` entries."""
    path = seen_path(logs_folder(), log.origin)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(log.checkpoint(size))
    return path


def test_a_proof_is_compared_with_what_kolm_log_saw(bundle: Bundle, tmp_path: Path) -> None:
    log, trust, copy = logged(bundle, tmp_path)
    (tmp_path / "digits.proof").write_bytes(log.proof(1))
    kept_by_kolm_log(Log([b"of another log"] * 9, origin="another/log"))
    assert kolm("verify", copy, "--trust", trust).exit_code == 0
    path = kept_by_kolm_log(log)
    same = kolm("verify", copy, "--trust", trust)
    assert (same.exit_code, f"log seen {path}" in same.stderr) == (0, True)
    log.append(b"what came later")
    kept_by_kolm_log(log)
    assert kolm("verify", copy, "--trust", trust).exit_code == 0  # the log has grown since, as logs do
    page = tmp_path / "audit.html"
    strict = kolm("verify", copy, "--trust", trust, "--checkpoint", path, "--report", page)
    assert (strict.exit_code, "check 19 (log) E_LOG_ROLLBACK" in strict.stdout) == (7, True)
    assert str(path) in page.read_text()
    assert kolm("verify", copy, "--trust", trust_of(bundle)).exit_code == 0  # no log is trusted there


def test_a_log_with_two_faces_is_refused_by_what_kolm_log_saw(bundle: Bundle, tmp_path: Path) -> None:
    log, trust, copy = logged(bundle, tmp_path)
    (tmp_path / "digits.proof").write_bytes(log.proof(1))
    kept_by_kolm_log(Log([b"an entry", b"a key that was revoked"], key=log.key))
    two_faces = kolm("verify", copy, "--trust", trust)
    assert (two_faces.exit_code, "E_LOG_EQUIVOCATION" in two_faces.stdout) == (7, True)


@pytest.mark.parametrize("defect", ["damaged", "of another key", "too long", "a folder"])
@pytest.mark.parametrize("named", [True, False])
def test_a_checkpoint_of_the_auditors_own_is_not_held_against_the_artifact(
    bundle: Bundle, tmp_path: Path, defect: str, named: bool
) -> None:
    log, trust, copy = logged(bundle, tmp_path)
    (tmp_path / "digits.proof").write_bytes(log.proof(1))
    path = tmp_path / "seen" if named else kept_by_kolm_log(log)
    if defect == "a folder" and not named:
        path.unlink()
        path.mkdir()
    elif defect != "a folder":
        path.write_bytes(
            {
                "damaged": log.checkpoint().replace(b"\n2\n", b"\n1\n"),
                "of another key": Log([b"x"]).checkpoint(),
                "too long": b"x" * (NOTE_BYTES + 1),
            }[defect]
        )
    result = kolm("verify", copy, "--trust", trust, *(["--checkpoint", path] if named else []))
    expected = 5 if defect == "a folder" and not named else 2
    assert (result.exit_code, result.stdout, str(path) in result.stderr) == (expected, "", True)


@pytest.mark.parametrize("defect", ["too long", "a folder", "a broken link"])
def test_a_proof_that_cannot_be_read_is_named_in_check_19(
    bundle: Bundle, tmp_path: Path, defect: str
) -> None:
    _, trust, copy = logged(bundle, tmp_path)
    beside = tmp_path / "digits.proof"
    if defect == "too long":
        beside.write_bytes(b"c2sp.org/tlog-proof@v1\n" * 2**14)
    elif defect == "a folder":
        beside.mkdir()
    else:
        beside.symlink_to("nowhere")
    result = kolm("verify", copy, "--trust", trust)
    *checks, closing = result.stdout.splitlines()
    assert (result.exit_code, len(checks)) == (7, 19)
    assert closing.startswith("NOT VERIFIED: check 19 (log) E_NOTE_SYNTAX: ")
    assert str(beside) in closing
    assert kolm("verify", copy, "--trust", trust_of(bundle)).exit_code == 0  # no log is trusted there


@pytest.mark.parametrize("option", ["--proof", "--checkpoint"])
def test_a_log_file_that_cannot_be_used_exits_2(bundle: Bundle, tmp_path: Path, option: str) -> None:
    missing = kolm("verify", bundle.artifact_path, option, tmp_path / "nothing")
    assert (missing.exit_code, "no file at" in missing.stderr) == (2, True)
    (tmp_path / "file").write_text("x")
    unknown = kolm("verify", bundle.artifact_path, "--trust", trust_of(bundle), option, tmp_path / "file")
    assert (unknown.exit_code, "needs a log to trust" in unknown.stderr) == (2, True)


def test_the_outcome_is_written_as_a_page(bundle: Bundle, tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    result = kolm("verify", bundle.artifact_path, "--trust", trust_of(bundle), "--report", page)
    assert (result.exit_code, ">VERIFIED<" in page.read_text()) == (0, True)
    result = kolm("verify", bundle.artifact_path, "--trust", tmp_path, "--report", page)
    assert (result.exit_code, "E_KEY_UNTRUSTED" in page.read_text()) == (7, True)
    nowhere = kolm("verify", bundle.artifact_path, "--report", tmp_path / "no" / "audit.html")
    assert (nowhere.exit_code, "there is no folder" in nowhere.stderr, nowhere.stdout) == (5, True, "")


def test_a_file_named_after_a_cid_is_held_to_it(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for cid, code in ((bundle.cid, 0), (cid_of(b"another artifact"), 7)):
        Path(cid).write_bytes(bundle.artifact_path.read_bytes())
        result = kolm("verify", cid, "--receipt", bundle.receipt_path, "--trust", trust_of(bundle))
        assert (result.exit_code, "E_CID_MISMATCH" in result.stdout) == (code, code == 7)


def test_a_page_never_takes_the_place_of_an_input(bundle: Bundle) -> None:
    before = bundle.artifact_path.read_bytes()
    result = kolm("verify", bundle.artifact_path, "--report", bundle.artifact_path)
    assert (result.exit_code, "does not end in .html" in result.stderr) == (2, True)
    assert bundle.artifact_path.read_bytes() == before


def test_the_page_says_what_was_given(bundle: Bundle, tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    kolm(
        "verify",
        bundle.artifact_path,
        "--trust",
        trust_of(bundle),
        "--base",
        bundle.base_dir,
        "--report",
        page,
    )
    for given in (bundle.artifact_path, bundle.receipt_path, trust_of(bundle), bundle.base_dir):
        assert str(given) in page.read_text()
    (tmp_path / "x.kolm").write_bytes(b"garbage")
    kolm("verify", tmp_path / "x.kolm", "--report", page)
    assert cid_of(b"garbage") in page.read_text()


def test_what_a_registry_sent_is_verified_and_named_on_the_page(bundle: Bundle, tmp_path: Path) -> None:
    _, trust, copy = logged(bundle, tmp_path)
    application = create_app(RegistrySettings(data=tmp_path / "data", trust=trust_of(bundle)))
    trust_log(trust, application.state.service.log.key.vkey)
    page = tmp_path / "audit.html"
    with serving(application) as url:
        send(copy, bundle.receipt_path, registry=url, allow_failed=True)
        result = kolm("verify", bundle.cid, "--registry", url, "--trust", trust, "--report", page)
    assert (result.exit_code, "19  passed" in result.stdout) == (0, True)
    for ending in (".kolm", ".receipt.json", ".proof"):
        assert f"{ending} from {url}" in page.read_text()

"""A whole compile through the command line: identity, statements, and both bases."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import Artifact
from kolm.cid import cid_of
from tests.e2e.conftest import Compiled, edit, kolm


def statement(receipt: Path, kind: str) -> dict[str, Any]:
    """Decode the predicate of one statement of a receipt."""
    for envelope in json.loads(receipt.read_bytes())["envelopes"]:
        payload = json.loads(base64.b64decode(envelope["payload"]))
        if payload["predicateType"] == kind:
            return payload["predicate"]
    raise AssertionError(kind)


def compile_again(made: Compiled, folder: Path, **changes: str) -> tuple[str, bytes]:
    """Compile the same folder once more, with a changed spec, and return CID and bytes."""
    spec = folder / "spec.yaml"
    if changes:
        shutil.copytree(made.folder, folder)
        edit(spec, **changes)
    else:
        spec = made.spec
    out = folder.with_name(f"{folder.name}-out")
    result = kolm("compile", spec, "--out", out, "--json")
    assert result.exit_code == 4, result.stderr
    return json.loads(result.stdout)["cid"], (out / "digits.kolm").read_bytes()


def test_compiling_twice_gives_the_same_bytes_and_another_seed_others(qwen: Compiled, tmp_path: Path):
    first = qwen.artifact.read_bytes()
    cid, again = compile_again(qwen, tmp_path / "again")
    assert again == first
    assert cid == cid_of(first)
    other, changed = compile_again(qwen, tmp_path / "other", seed="1")
    assert changed != first
    assert other != cid


def test_the_files_belong_together(qwen: Compiled):
    artifact = Artifact.open(qwen.artifact)
    assert (qwen.out / "digits.modules.json").read_bytes() == artifact.read("modules.json")
    assert json.loads(qwen.receipt.read_bytes())["artifact"] == artifact.cid
    for report in ("digits.report.html", "digits.report.md"):
        assert artifact.cid in (qwen.out / report).read_text(encoding="utf-8")
    assert sorted(path.name for path in qwen.out.iterdir()) == [
        "digits.kolm",
        "digits.modules.json",
        "digits.receipt.json",
        "digits.report.html",
        "digits.report.md",
    ]


def test_the_receipt_says_what_was_planned(qwen: Compiled):
    planned = statement(qwen.receipt, "urn:kolm:compile:v1")["planned"]
    assert planned["peak_bytes"] > 100_000_000
    assert planned["step_ns"] > 0


def test_the_receipt_says_how_the_questions_were_asked(qwen: Compiled):
    predicate = statement(qwen.receipt, "urn:kolm:compile:v1")
    timed = [row["id"] for row in predicate["timings"]["rows"]]
    assert predicate["evaluation"] == {"batch": 32, "compared": 2 * len(timed), "differing": 0}
    assert Artifact.open(qwen.artifact).lock.generation.batch == 32


@pytest.mark.parametrize(("base", "family"), [("qwen", "qwen2_5_vl"), ("llava", "llava")])
def test_the_receipt_says_what_was_frozen_and_trained(base: str, family: str, request: pytest.FixtureRequest):
    made: Compiled = request.getfixturevalue(base)
    predicate = statement(made.receipt, "urn:kolm:compile:v1")
    block = predicate["vlm_train"]
    promised = {
        "model_id", "papers", "lora_r", "lora_alpha", "lora_targets", "freeze_vision",
        "frozen_modules", "trainable_modules", "learning_rate", "max_seq_length", "train_examples",
    }  # fmt: skip
    assert promised <= block.keys()
    assert block["freeze_vision"] is True
    assert block["train_examples"] == 64
    assert predicate["family"] == family
    assert block["parts"]["vision"] == "frozen"
    assert block["frozen_modules"] == predicate["modules"]["frozen_modules"]


def test_qwens_merger_is_frozen_and_llavas_projector_trained(qwen: Compiled, llava: Compiled):
    frozen = statement(qwen.receipt, "urn:kolm:compile:v1")["vlm_train"]
    assert "visual.merger" in frozen["frozen_modules"]
    assert frozen["parts"]["projector"] == "frozen"
    assert frozen["servable_as"] == "lora"
    trained = statement(llava.receipt, "urn:kolm:compile:v1")["vlm_train"]
    assert "multi_modal_projector.linear_1" in trained["trainable_modules"]
    assert trained["parts"]["projector"] == "full"
    assert trained["servable_as"] == "merged"


@pytest.mark.parametrize("base", ["qwen", "llava"])
def test_verify_recomputes_every_frozen_digest_from_the_bases_own_files(
    base: str, request: pytest.FixtureRequest
):
    made: Compiled = request.getfixturevalue(base)
    folder = next((made.folder / "base").iterdir())
    result = kolm("verify", made.artifact, "--base", folder, "--json")
    assert result.exit_code == 0, result.stdout
    report = json.loads(result.stdout)
    *done, replay, log = (check["status"] for check in report["checks"])
    assert (set(done), replay, log) == ({"passed"}, "skipped", "skipped")  # neither was asked for
    parameters = Artifact.open(made.artifact).modules.parameters
    assert {p.base.relation for p in parameters if p.state == "frozen"} == {"identical"}
    assert not [p.name for p in parameters if p.part == "vision" and "lora" in p.name]


def test_a_base_that_is_not_the_one_named_is_found_out(qwen: Compiled, tmp_path: Path):
    folder = next((qwen.folder / "base").iterdir())
    changed = tmp_path / "base"
    shutil.copytree(folder, changed)
    weights = bytearray((changed / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (changed / "model.safetensors").write_bytes(weights)
    result = kolm("verify", qwen.artifact, "--base", changed, "--json")
    assert result.exit_code == 7


def test_nothing_of_this_machine_is_in_the_artifact(qwen: Compiled):
    artifact = Artifact.open(qwen.artifact)
    text = b"".join(
        artifact.read(name)
        for name in artifact.container.names
        if not name.endswith((".png", ".safetensors"))
    )
    assert str(qwen.folder).encode() not in text
    assert str(qwen.home).encode() not in text


def test_a_compile_counts_earlier_evaluations_of_the_same_pack(qwen: Compiled, tmp_path: Path):
    before = statement(qwen.receipt, "urn:kolm:compile:v1")["k_score"]["attempts"]
    (tmp_path / "out").mkdir()
    proof = tmp_path / "out/digits.proof"
    proof.write_text("that the receipt of an earlier compile is in a log")
    result = kolm("compile", qwen.spec, "--out", tmp_path / "out", "--json")
    assert not proof.exists()
    assert json.loads(result.stdout)["k_score"]["attempts"] > before


def test_inspect_shows_an_artifact_and_a_receipt(qwen: Compiled):
    shown = json.loads(kolm("inspect", qwen.artifact, "--json").stdout)
    assert shown["cid"] == Artifact.open(qwen.artifact).cid
    assert kolm("inspect", qwen.receipt).exit_code == 0

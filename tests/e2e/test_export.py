"""Exports, loaded with plain peft and transformers: what answers there is what was compiled."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from apps.trainer.bases import recall_base
from apps.trainer.processor import load_processor
from kolm.artifact import Artifact
from kolm.predicates import CompilePredicate
from kolm.receipt import Receipt
from kolm.yamldoc import read_yaml
from tests.e2e.conftest import Compiled, kolm
from tests.e2e.exported import asked, base_of, compiled_logits, logits_of


@pytest.fixture(params=["qwen", "llava"])
def made(request: pytest.FixtureRequest) -> Compiled:
    return request.getfixturevalue(request.param)


def front_matter(card: Path) -> dict[str, Any]:
    text = card.read_text(encoding="utf-8")
    assert text.startswith("---\n")
    return read_yaml(text[4 : text.index("\n---\n")].encode(), name="card").value


def test_peft_takes_the_adapter_as_it_is(made: Compiled, tmp_path: Path):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    result = kolm("export", made.artifact, "--to", "peft", "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    assert "every trained tensor is there" in result.stderr
    assert json.loads(result.stdout)["difference"] == 0
    inputs = asked(made)
    base = recall_base(Artifact.open(made.artifact).manifest.base.model_dump())
    own, exported = (load_processor(replace(base, directory=at)) for at in (base.directory, tmp_path / "out"))
    assert exported.chat_template == own.chat_template
    assert exported.image_processor.to_dict() == own.image_processor.to_dict()
    model = PeftModel.from_pretrained(
        AutoModelForImageTextToText.from_pretrained(base_of(made)), tmp_path / "out"
    )
    assert torch.allclose(logits_of(model, inputs), compiled_logits(made, inputs, tmp_path), atol=1e-5)


def test_transformers_takes_the_merged_checkpoint_as_it_is(made: Compiled, tmp_path: Path):
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    result = kolm("export", made.artifact, "--to", "merged", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "loaded again" in result.stderr
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    inputs = asked(made)
    meant = compiled_logits(made, inputs, tmp_path)
    apart = (logits_of(model, inputs) - meant).abs()
    assert apart.max() < 0.02 * meant.abs().max()
    own = AutoTokenizer.from_pretrained(base_of(made))
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == own.get_vocab()
    generation = (tmp_path / "out" / "generation_config.json").read_bytes()
    assert generation == (base_of(made) / "generation_config.json").read_bytes()


def test_merged_in_float32_is_the_adapted_model_and_16_bit_is_that_rounded_once(
    made: Compiled, tmp_path: Path
):
    options = ("--to", "merged", "--dtype", "float32", "--out", tmp_path / "exact", "--json")
    result = kolm("export", made.artifact, *options)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["dtype"] == "float32"
    assert told["difference"] < 1e-5
    assert kolm("export", made.artifact, "--to", "merged", "--out", tmp_path / "rounded").exit_code == 0
    exact, rounded, base = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "exact", tmp_path / "rounded", base_of(made))
    )
    assert rounded.keys() == exact.keys() == base.keys()
    assert all(torch.equal(rounded[name], exact[name].to(torch.bfloat16)) for name in exact)
    changed = {name for name in exact if not torch.equal(exact[name], base[name])}
    artifact = Artifact.open(made.artifact)
    trained = {name.rpartition(".lora_")[0] or name for name in artifact.modules.trainable}
    assert len(changed) == len(trained)


@pytest.mark.parametrize("form", ["peft", "merged"])
def test_the_folder_says_what_it_is(qwen: Compiled, tmp_path: Path, form: str):
    out = tmp_path / "out"
    assert kolm("export", qwen.artifact, "--to", form, "--out", out).exit_code == 0
    artifact = Artifact.open(qwen.artifact)
    front = front_matter(out / "README.md")
    relation, library = {"peft": ("adapter", "peft"), "merged": ("finetune", "transformers")}[form]
    assert (front["base_model_relation"], front["library_name"]) == (relation, library)
    assert front["license"] == artifact.manifest.base.licence
    assert front["base_model"] == artifact.manifest.base.model
    assert "kolm" in front["tags"]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert artifact.cid in card
    assert "INCONCLUSIVE" in card
    assert (out / "digits.receipt.json").read_bytes() == qwen.receipt.read_bytes()
    assert (out / "digits.modules.json").read_bytes() == artifact.read("modules.json")
    for name in artifact.members("processor"):
        assert (out / Path(name).name).read_bytes() == artifact.read(name)
    if form == "peft":
        for name in artifact.members("adapter"):
            assert (out / Path(name).name).read_bytes() == artifact.read(name)
            assert artifact.container.sha256(name) in card


def test_a_receipt_of_another_artifact_is_refused(qwen: Compiled, llava: Compiled, tmp_path: Path):
    options = ("--to", "peft", "--out", tmp_path / "out", "--receipt", llava.receipt)
    result = kolm("export", qwen.artifact, *options)
    assert result.exit_code == 7
    assert "is about bafkrei" in result.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_receipt_the_card_claims_nothing(qwen: Compiled, tmp_path: Path):
    alone = tmp_path / "alone.kolm"
    shutil.copyfile(qwen.artifact, alone)
    result = kolm("export", alone, "--to", "peft", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "no receipt" in result.stderr
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "No receipt was at hand" in card
    assert "INCONCLUSIVE" not in card
    assert not list((tmp_path / "out").glob("*.receipt.json"))


def test_a_folder_that_holds_something_stays_as_it_is(qwen: Compiled, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    result = kolm("export", qwen.artifact, "--to", "peft", "--out", tmp_path)
    assert result.exit_code == 2
    assert "not an empty folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_its_base_the_adapter_goes_out_and_nothing_is_merged(
    qwen: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path / "elsewhere"))
    result = kolm("export", qwen.artifact, "--to", "peft", "--out", tmp_path / "adapter")
    assert result.exit_code == 0, result.stderr
    assert "PEFT was not tried on it" in result.stderr
    lost = kolm("export", qwen.artifact, "--to", "merged", "--out", tmp_path / "merged")
    assert lost.exit_code == 5
    assert "--base" in lost.stderr
    assert not (tmp_path / "merged").exists()


def test_another_base_is_refused(qwen: Compiled, llava: Compiled, tmp_path: Path):
    options = ("--to", "merged", "--out", tmp_path / "out", "--base", base_of(llava))
    result = kolm("export", qwen.artifact, *options)
    assert result.exit_code == 5
    assert "is not the base" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["peft", "merged"])
def test_a_base_that_is_named_and_not_there_is_refused(qwen: Compiled, tmp_path: Path, form: str):
    options = ("--to", form, "--out", tmp_path / "out", "--base", tmp_path / "gone")
    result = kolm("export", qwen.artifact, *options)
    assert result.exit_code == 2
    assert "no folder at" in result.stderr


def test_the_receipt_says_how_far_the_saved_result_is_from_the_trained_one(made: Compiled):
    receipt = Receipt.parse(made.receipt.read_bytes())
    compiled = next(s.predicate for s in receipt.unverified() if isinstance(s.predicate, CompilePredicate))
    found = compiled.train.reopened
    assert found is not None
    assert found.tensors == len(Artifact.open(made.artifact).modules.trainable)
    assert found.merged is not None
    assert 0 <= found.reloaded <= found.merged < 1e-5 * found.largest_logit


def test_a_changed_member_is_refused(qwen: Compiled, tmp_path: Path):
    changed = bytearray(qwen.artifact.read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "changed.kolm").write_bytes(bytes(changed))
    result = kolm("export", tmp_path / "changed.kolm", "--to", "peft", "--out", tmp_path / "out")
    assert result.exit_code == 7
    assert not (tmp_path / "out").exists()


def test_a_type_for_an_adapter_is_refused(qwen: Compiled, tmp_path: Path):
    options = ("--to", "peft", "--dtype", "float32", "--out", tmp_path / "out")
    result = kolm("export", qwen.artifact, *options)
    assert result.exit_code == 2
    assert "exported as it is" in result.stderr


@pytest.mark.parametrize("form", ["peft", "merged"])
def test_a_full_disk_leaves_nothing_behind(qwen: Compiled, tmp_path: Path, form: str):
    """RLIMIT_FSIZE refuses the write as a full disk does, in a process of its own."""
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from kolm.__main__ import main\n"
        "main()\n"
    )
    arguments = ["export", qwen.artifact, "--to", form, "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", limited, *map(str, arguments)],
        check=False, capture_output=True, text=True, env={**os.environ, "KOLM_HOME": str(qwen.home)},
    )  # fmt: skip
    assert done.returncode == 5, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []

"""Exports of what is not plain LoRA on 16 bit: weights trained in full, factors trained on 4 bit."""

from pathlib import Path

import pytest
import torch

from kolm.predicates import CompilePredicate
from kolm.receipt import Receipt
from tests.e2e.conftest import Compiled, edit, kolm
from tests.e2e.exported import asked, base_of, compiled_logits, logits_of


@pytest.fixture(scope="session")
def compiled_whole(tmp_path_factory: pytest.TempPathFactory, session_env: pytest.MonkeyPatch) -> Compiled:
    """A short compile in which the language tower itself is trained."""
    root = tmp_path_factory.mktemp("whole")
    return compile_short(root, session_env, {"method": "full", "learning_rate": "1.0e-4"})


@pytest.fixture(scope="session")
def compiled_qlora(tmp_path_factory: pytest.TempPathFactory, session_env: pytest.MonkeyPatch) -> Compiled:
    """A short compile on a language tower quantised to 4 bit."""
    return compile_short(tmp_path_factory.mktemp("qlora"), session_env, {"method": "qlora"}, NF4)


NF4 = "  quantization: {bits: 4, compute_dtype: float32}\n"


def compile_short(
    root: Path, env: pytest.MonkeyPatch, values: dict[str, str], more: str = "", *, base: str = "llava-tiny"
) -> Compiled:
    env.setenv("KOLM_HOME", str(root / "home"))
    made = Compiled(root / "home", root / "digits", root / "out")
    options = ("--base", base, "--train-rows", "16", "--eval-rows", "4")
    assert kolm("init", "--demo", "digits", made.folder, *options).exit_code == 0
    edit(made.spec, num_train_epochs="1", warmup_steps="0", k="0.10", min_accuracy="0.10", **values)
    made.spec.write_text(made.spec.read_text().replace("\ngeneration:", f"{more}\ngeneration:"))
    result = kolm("compile", made.spec, "--out", made.out)
    assert result.exit_code in (3, 4), result.stderr
    return made


def test_weights_trained_in_full_are_exported_merged_and_only_so(
    compiled_whole: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from transformers import AutoModelForImageTextToText

    monkeypatch.setenv("KOLM_HOME", str(compiled_whole.home))
    refused = kolm("export", compiled_whole.artifact, "--to", "peft", "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "--to merged" in refused.stderr
    options = ("--to", "merged", "--dtype", "float32", "--out", tmp_path / "out")
    result = kolm("export", compiled_whole.artifact, *options)
    assert result.exit_code == 0, result.stderr
    inputs = asked(compiled_whole)
    meant = compiled_logits(compiled_whole, inputs, tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits_of(model, inputs), meant, atol=1e-5)
    base = AutoModelForImageTextToText.from_pretrained(base_of(compiled_whole))
    assert not torch.allclose(logits_of(base, inputs), meant, atol=1e-3)


def test_what_was_trained_on_4_bit_is_merged_into_16(
    compiled_qlora: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from transformers import AutoModelForImageTextToText

    monkeypatch.setenv("KOLM_HOME", str(compiled_qlora.home))
    receipt = Receipt.parse(compiled_qlora.receipt.read_bytes())
    compiled = next(s.predicate for s in receipt.unverified() if isinstance(s.predicate, CompilePredicate))
    assert compiled.train.reopened is not None
    assert compiled.train.reopened.merged is None
    result = kolm("export", compiled_qlora.artifact, "--to", "merged", "--out", tmp_path / "merged")
    assert result.exit_code == 0, result.stderr
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    assert model.dtype == torch.bfloat16
    assert getattr(model.config, "quantization_config", None) is None
    result = kolm("export", compiled_qlora.artifact, "--to", "peft", "--out", tmp_path / "peft")
    assert result.exit_code == 0, result.stderr
    for form in ("merged", "peft"):
        assert "language tower was quantised" in (tmp_path / form / "README.md").read_text()

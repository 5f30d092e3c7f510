"""Asking a base, and a base with an adapter: what was saved is what answers."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from apps.trainer.generate import open_model
from kolm.dataset import ImagePart, TextPart, Turn
from kolm.errors import EvalError
from kolm.spec import VLMTrainConfig
from tests.digits import PROMPT, digits
from tests.training import Run

ASKED = [
    Turn("user", (ImagePart("bafkreihwsnuregceqh263vgdathcprnbvatyat6h6mu7ipjhhodcdbyhoy"), TextPart(PROMPT)))
]


CONFIG = VLMTrainConfig()


def answers(answerer, count: int = 8) -> list[str]:
    return [answerer.ask(ASKED, [image], max_new_tokens=8).text for image, _ in digits(count)]


def test_an_answer_ends_where_the_model_ends_its_turn(qwen: Run):
    answer = open_model(qwen.trainer.base, CONFIG).ask(ASKED, [digits(1)[0][0]], max_new_tokens=8)
    assert answer.finish == "stop"
    assert 0 < answer.tokens <= 8
    assert answer.image_tokens == 9
    assert answer.patches == 36
    assert answer.prompt_tokens > answer.image_tokens
    cut = open_model(qwen.trainer.base, CONFIG).ask(ASKED, [digits(1)[0][0]], max_new_tokens=1)
    assert (cut.tokens, cut.finish) == (1, "length")


@pytest.mark.parametrize("run", ["qwen", "llava"])
def test_the_saved_adapter_answers_and_the_base_alone_is_unchanged(run: str, request: pytest.FixtureRequest):
    chosen: Run = request.getfixturevalue(run)
    base = open_model(chosen.trainer.base, CONFIG)
    before = answers(base)
    tuned = open_model(
        chosen.trainer.base, CONFIG, trained=chosen.result.adapter_dir, manifest=chosen.result.manifest
    )
    answers(tuned)
    with tuned.model.disable_adapter():
        assert answers(tuned) == before


def test_peft_loads_the_adapter_folder_as_it_is(qwen: Run):
    from peft import PeftModel

    from apps.trainer.load import load_model

    model = PeftModel.from_pretrained(load_model(qwen.trainer.base, CONFIG), qwen.result.adapter_dir)
    loaded = [name for name, p in model.named_parameters() if "lora_B" in name and bool(torch.any(p != 0))]
    assert len(loaded) == len(qwen.trainer.plan().targets)


def test_an_adapter_that_loads_only_in_part_is_refused(qwen: Run, tmp_path: Path):
    folder = tmp_path / "adapter"
    shutil.copytree(qwen.result.adapter_dir, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    lost = sorted(weights)[0]
    del weights[lost]
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(EvalError, match="1 missing"):
        open_model(qwen.trainer.base, CONFIG, trained=folder, manifest=qwen.result.manifest)

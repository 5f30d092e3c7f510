"""A plan applied to a live model: modes of its parts, and every way in which they can differ is noticed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from apps.trainer import freeze
from apps.trainer.families import Family
from apps.trainer.plan import plan_for
from kolm.errors import FreezeMismatchError
from kolm.spec import VLMTrainConfig
from tests.training import BRIEF, Run

FAMILY = Family(
    name="toy",
    model_types=("toy",),
    ids=(),
    vision=("tower",),
    projector=("tower.merger",),
    language=("decoder",),
    head=(),
    papers=(),
)


class Toy(torch.nn.Module):
    """A tower with a batch norm and a projector inside, and a decoder of one layer."""

    def __init__(self) -> None:
        super().__init__()
        layers = {
            "conv": torch.nn.Linear(4, 4),
            "norm": torch.nn.BatchNorm1d(4),
            "merger": torch.nn.Linear(4, 4),
        }
        self.tower = torch.nn.ModuleDict(layers)
        self.decoder = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(4, 4)})
        self.config: Any = None

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        for module in self.tower.values():
            pixels = module(pixels)  # [B, 4]
        return self.decoder["q_proj"](pixels)


@pytest.mark.parametrize("vision", ["frozen", "full"])
def test_statistics_of_a_batch_norm_stay_whatever_is_trained(vision: str):
    model = Toy()
    config = VLMTrainConfig(method="full", freeze_vision=vision == "frozen", parts={"vision": vision})
    plan = plan_for(model, FAMILY, config)
    before = freeze.digests(model)
    freeze.training_mode(model, FAMILY, plan)
    model(torch.randn(8, 4))
    assert freeze.digests(model) == before
    assert model.tower["conv"].training is (vision == "full")
    assert model.decoder["q_proj"].training


def test_frozen_towers_run_in_eval_mode_while_the_language_tower_trains(llava: Run, llava_base: Path):
    from apps.trainer.bases import find_base
    from apps.trainer.load import load_model

    config = VLMTrainConfig(**BRIEF)
    model = load_model(find_base(llava_base, model="base"), VLMTrainConfig())
    plan = plan_for(model, llava.trainer.base.family, config)
    wrapped = freeze.wrap(model, plan, config)
    freeze.training_mode(wrapped, llava.trainer.base.family, plan)
    tower = {name: module.training for name, module in wrapped.named_modules() if "vision_tower" in name}
    language = {
        name: module.training for name, module in wrapped.named_modules() if "language_model.layers" in name
    }
    assert tower
    assert not any(tower.values())
    assert all(language.values())


def test_lora_in_the_frozen_tower_is_noticed_and_nothing_goes_on(qwen: Run, qwen_base: Path):
    """The usual tools' mistake: seven bare names, which PEFT finds in the vision tower too."""
    from peft import LoraConfig, get_peft_model

    from apps.trainer.bases import find_base
    from apps.trainer.load import load_model

    plan = qwen.trainer.plan()
    model = load_model(find_base(qwen_base, model="base"), VLMTrainConfig())
    before = freeze.digests(model)
    careless = get_peft_model(model, LoraConfig(r=16, target_modules=list(VLMTrainConfig().lora_targets)))
    with pytest.raises(FreezeMismatchError, match=r"visual\.blocks.*lora"):
        freeze.compare_states(freeze.states_of(careless), plan)
    manifest = freeze.observe(careless, base=qwen.trainer.base, before=before, gradients={})
    assert "trainable" in manifest.part_states()["vision"]
    with pytest.raises(FreezeMismatchError, match=r"visual\.blocks.*lora") as error:
        freeze.compare(manifest, plan)
    assert error.value.exit_code == 7


def test_a_frozen_weight_that_moved_is_noticed(qwen: Run, qwen_base: Path):
    from apps.trainer.bases import find_base
    from apps.trainer.load import load_model

    plan = qwen.trainer.plan()
    model = load_model(find_base(qwen_base, model="base"), VLMTrainConfig())
    before = freeze.digests(model)
    wrapped = freeze.wrap(model, plan, VLMTrainConfig(**BRIEF))
    with torch.no_grad():
        next(p for n, p in wrapped.named_parameters() if "visual.patch_embed" in n).add_(1e-3)
    manifest = freeze.observe(wrapped, base=qwen.trainer.base, before=before, gradients={})
    with pytest.raises(FreezeMismatchError, match="bytes changed"):
        freeze.compare(manifest, plan)


def test_a_projector_that_did_not_become_trainable_is_noticed(llava: Run, llava_base: Path):
    """PEFT freezes everything that is not an adapter, a projector that should be trained included."""
    from peft import LoraConfig, get_peft_model

    from apps.trainer.bases import find_base
    from apps.trainer.load import load_model

    plan = llava.trainer.plan()
    model = load_model(find_base(llava_base, model="base"), VLMTrainConfig())
    before = freeze.digests(model)
    careless = get_peft_model(model, LoraConfig(r=16, target_modules=list(plan.targets)))
    manifest = freeze.observe(careless, base=llava.trainer.base, before=before, gradients={})
    with pytest.raises(FreezeMismatchError, match="multi_modal_projector"):
        freeze.compare(manifest, plan)


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_rotary_frequencies_of_the_last_length_are_not_taken_for_a_change(kind: str):
    from transformers import LlamaConfig, LlamaForCausalLM

    lengths = {"longrope": {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}, "dynamic": {"factor": 2.0}}
    rotary = {"rope_type": kind, "rope_theta": 1e4, "original_max_position_embeddings": 8} | lengths[kind]
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=8,
        max_position_embeddings=8,
        rope_parameters=rotary,
    )
    model = LlamaForCausalLM(config).eval()
    before = freeze.digests(model)
    short, long = torch.ones(1, 4, dtype=torch.long), torch.ones(1, 16, dtype=torch.long)
    said = model(short).logits
    model(long)
    assert freeze.digests(model) != before, "the trap must be there"
    freeze.rewind_rotations(model)
    assert freeze.digests(model) == before
    assert torch.equal(model(short).logits, said)

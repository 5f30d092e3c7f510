"""Training settings: defaults, contradictions, and what is not built yet."""

import pytest
from pydantic import ValidationError

from kolm.errors import SpecError
from kolm.spec import SEVEN_PROJECTIONS, Parts, Quantization, VLMTrainConfig, refuse_unsupported, unsupported


def test_the_documented_call_builds_a_config_with_nothing_unsupported() -> None:
    config = VLMTrainConfig(
        lora_r=16, lora_alpha=32, freeze_vision=True, learning_rate=1e-4, max_seq_length=2048,
        num_train_epochs=1, per_device_train_batch_size=1, gradient_accumulation_steps=8, bf16=True,
    )  # fmt: skip
    assert unsupported(config) == []
    assert config == VLMTrainConfig()
    assert config.lora_targets == SEVEN_PROJECTIONS
    assert (config.method, config.parts.vision, config.parts.projector) == ("lora", "frozen", "auto")


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        VLMTrainConfig().lora_r = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lora_rank": 8}, "unknown key `lora_rank`: did you mean `lora_r`?"),
        ({"parts": {"visoin": "frozen"}}, "unknown key `visoin` in `parts`: did you mean `vision`?"),
        ({"lora_r": "16"}, "`lora_r` must be a whole number, found the text `16`"),
        ({"bf16": 1}, "`bf16` must be true or false, found `1`"),
        ({"lora_r": 0}, "`lora_r` must be at least 1, found `0`"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be a finite number, found `inf`"),
        ({"device": "gpu"}, "`device` must be of the form"),
        ({"warmup_steps": 1, "warmup_ratio": 0.1}, "`warmup_steps` and `warmup_ratio` are both given"),
        ({"parts": {"vision": "full"}}, "`freeze_vision: true` contradicts `parts.vision: full`"),
        ({"quantization": Quantization()}, "`quantization` and `method: qlora` need each other"),
        (
            {"method": "full", "parts": {"language": "lora"}},
            "`method: full` contradicts `parts.language: lora`",
        ),
        ({"method": "full", "parts": {"projector": "lora"}}, "contradicts `parts.projector: lora`"),
        (
            {"method": "full", "lora_targets": ["q_proj"]},
            "`lora_targets` name layers of a language tower that is `full`",
        ),
        (
            {"parts": {"language": "frozen", "projector": "full"}, "lora_targets": ["mlp"]},
            "`lora_targets` name layers of a language tower that is `frozen`",
        ),
        ({"parts": {"projector": "warmup"}}, "`projector_warmup_steps` and `parts.projector: warmup`"),
        ({"parts": {"audio": "full"}}, "parts.audio: not supported yet: `full` training of the audio tower"),
        (
            {"bias": "all", "save_steps": 5},
            "bias: not supported yet: trained biases; save_steps: not supported",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_of_says_what_is_wrong(fields: dict, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        VLMTrainConfig.of(**fields)
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("parts", [{}, {"projector": "frozen"}, Parts(vision="frozen"), Parts()])
def test_method_full_trains_the_language_tower_unless_parts_says_otherwise(parts: object) -> None:
    config = VLMTrainConfig.of(method="full", parts=parts)
    assert config.parts.language == "full"
    assert VLMTrainConfig(**config.model_dump()) == config


def test_method_full_may_leave_the_language_tower_alone() -> None:
    config = VLMTrainConfig.of(method="full", parts={"language": "frozen", "projector": "full"})
    assert (config.parts.language, config.parts.projector) == ("frozen", "full")


def test_of_lists_every_mistake() -> None:
    with pytest.raises(SpecError, match=r"`lora_r` must be.*; .*`seed` must be"):
        VLMTrainConfig.of(lora_r=0, seed=-1)


def test_of_returns_the_config() -> None:
    assert VLMTrainConfig.of(lora_r=4) == VLMTrainConfig(lora_r=4)


def test_a_config_that_asks_for_something_not_built_is_refused_before_training() -> None:
    with pytest.raises(SpecError, match="save_steps: not supported yet: checkpoints to resume from"):
        refuse_unsupported(VLMTrainConfig(save_steps=10))

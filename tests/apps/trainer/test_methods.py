"""Every method and treatment on real models: what moves, what stays, and that an auditor accepts it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from apps.trainer.freeze import wrap
from apps.trainer.plan import plan_for
from kolm.errors import SpecError, TrainError
from kolm.names import MAGNITUDE
from kolm.spec import VLMTrainConfig
from kolm.tensors import read_tensors
from tests.compiled import Compiled, compile_with
from tests.digits import LLAVA, QWEN
from tests.training import train

LAYER = "language_model.layers.0"
CONNECTOR = "multi_modal_projector"


@dataclass(frozen=True)
class Case:
    """Settings of a compile, and what has to come of them."""

    base: Path
    train: dict[str, Any]
    parts: dict[str, str]
    servable: str
    moved: tuple[str, ...] = ()
    """Prefixes of the base's own parameters that move; all others must not."""
    added: tuple[str, ...] = ()
    """Prefixes under which factors are added; there are none elsewhere."""
    config: dict[str, Any] = field(default_factory=dict)
    """What PEFT's config must say."""


FROZEN = {"vision": "frozen", "projector": "frozen", "language": "lora"}
ONLY_PROJECTOR = {"projector": "full", "language": "frozen"}
OPEN = {"freeze_vision": False}

CASES = {
    "rslora": Case(
        QWEN, {"method": "rslora"}, FROZEN, "lora", added=("language_model",), config={"use_rslora": True}
    ),
    "dora": Case(
        LLAVA,
        {"method": "dora"},
        FROZEN | {"projector": "full"},
        "merged",
        moved=(CONNECTOR,),
        added=("language_model",),
        config={"use_dora": True},
    ),
    "projector-lora": Case(
        LLAVA,
        {"parts": {"projector": "lora"}, "projector_lr": 1e-2},
        FROZEN | {"projector": "lora"},
        "lora+connector",
        added=("language_model", CONNECTOR),
    ),
    "projector-frozen": Case(
        LLAVA, {"parts": {"projector": "frozen"}}, FROZEN, "lora", added=("language_model",)
    ),
    "projector-alone": Case(
        LLAVA, {"parts": ONLY_PROJECTOR}, ONLY_PROJECTOR | {"vision": "frozen"}, "merged", moved=(CONNECTOR,)
    ),
    "merger-alone": Case(
        QWEN,
        {"parts": ONLY_PROJECTOR},
        ONLY_PROJECTOR | {"vision": "frozen"},
        "merged",
        moved=("visual.merger",),
    ),
    "vision-lora": Case(
        QWEN,
        OPEN | {"parts": {"vision": "lora"}},
        FROZEN | {"vision": "lora"},
        "lora+connector",
        added=("language_model", "visual.blocks"),
    ),
    "vision-full": Case(
        QWEN,
        OPEN | {"parts": {"vision": "full"}, "learning_rate": 2e-3},
        FROZEN | {"vision": "full"},
        "merged",
        moved=("visual.patch_embed", "visual.blocks"),
        added=("language_model",),
    ),
    "full": Case(
        LLAVA,
        {"method": "full", "learning_rate": 2e-3},
        FROZEN | {"language": "full", "projector": "full"},
        "merged",
        moved=("language_model", CONNECTOR, "lm_head"),
    ),
    "attention": Case(
        QWEN,
        {"lora_targets": ["attention"]},
        FROZEN,
        "lora",
        added=tuple(f"language_model.layers.{n}.self_attn" for n in range(2)),
    ),
    "mlp": Case(
        QWEN,
        {"lora_targets": ["mlp"]},
        FROZEN,
        "lora",
        added=tuple(f"language_model.layers.{n}.mlp" for n in range(2)),
    ),
    "names": Case(
        QWEN,
        {"lora_targets": [f"{LAYER}.self_attn.q_proj", f"model.{LAYER}.self_attn.k_proj", "down_proj"]},
        FROZEN,
        "lora",
        added=(
            f"{LAYER}.self_attn.q_proj",
            f"{LAYER}.self_attn.k_proj",
            *(f"language_model.layers.{n}.mlp.down_proj" for n in range(2)),
        ),
    ),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compiled]:
    return {}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def done(case: str, compiled: dict[str, Compiled], tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The compile of a case, made once."""
    if case not in compiled:
        folder = tmp_path_factory.mktemp(case)
        compiled[case] = compile_with(CASES[case].base, folder, **CASES[case].train)
    return compiled[case]


def below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{prefix}.") for prefix in prefixes)


def test_the_loss_falls_and_an_auditor_with_the_base_accepts_the_result(done: Compiled):
    losses = done.trained.metrics["losses"]
    assert losses[-1] < losses[0]
    assert done.report.failure is None
    *made, replay, log = (check.status for check in done.report.checks)
    assert (set(made), replay, log) == ({"passed"}, "skipped", "skipped")  # neither was asked for


def test_exactly_what_was_planned_moves(case: str, done: Compiled):
    wanted = CASES[case]
    names = [p.name for p in done.manifest.parameters if p.before is not None]
    assert done.moved == {name for name in names if below(name, wanted.moved)}
    assert done.plan.trained == [n for n in done.plan.states if n in {*done.manifest.trainable}]
    assert not done.plan.left_frozen


def test_factors_are_where_they_should_be_and_nowhere_else(case: str, done: Compiled):
    added = [p for p in done.manifest.parameters if p.before is None]
    assert all(below(p.name, CASES[case].added) for p in added)
    assert {prefix for prefix in CASES[case].added for p in added if below(p.name, (prefix,))} == {
        *CASES[case].added
    }
    assert sum(p.elements for p in added) == done.plan.added
    assert all(p.gradient is not None and p.gradient.seen for p in added)


def test_parts_and_serving_are_said_alike_by_plan_lock_and_receipt(case: str, done: Compiled):
    wanted = CASES[case]
    head = done.manifest.treatments().get("head", "frozen")
    parts = wanted.parts | ({"head": head} if "head" in done.manifest.treatments() else {})
    assert done.manifest.treatments() == parts
    assert done.artifact.lock.resolved.parts == parts
    assert done.result.train_block["parts"] == parts
    assert done.plan.servable_as == done.manifest.servable_as == wanted.servable


def test_the_artifact_holds_the_trained_tensors_and_no_others(case: str, done: Compiled):
    members = {name for name in done.artifact.container.names if name.startswith(("adapter/", "weights/"))}
    if CASES[case].added:
        assert members == {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
        config = json.loads(done.artifact.read("adapter/adapter_config.json"))
        flags = {"use_dora": False, "use_rslora": False, "target_modules": list(done.plan.targets)}
        assert flags | CASES[case].config == {key: config[key] for key in flags}
    else:
        assert members == {"weights/model.safetensors"}
        held = read_tensors(done.artifact.read("weights/model.safetensors"))
        assert sorted(held) == sorted(done.manifest.trainable)


def test_dora_adds_a_magnitude_for_each_output(tmp_path: Path):
    done = compile_with(LLAVA, tmp_path, method="dora", lora_targets=["q_proj"])
    sizes = {p.name: p.shape for p in done.manifest.parameters}
    magnitude = sizes[f"{LAYER}.self_attn.q_proj.{MAGNITUDE}"]
    assert magnitude == [sizes[f"{LAYER}.self_attn.q_proj.weight"][0]]


def test_the_best_weights_of_a_full_run_are_those_that_are_saved(tmp_path: Path):
    """At a rate that does harm, an earlier step is the best one."""
    harmful = {"learning_rate": 0.05, "lr_scheduler": "constant", "num_train_epochs": 4, "method": "full"}
    result = train(LLAVA, tmp_path, count=16, **harmful).result
    assert result.metrics["checkpoint"] == "best"
    assert result.metrics["kept_step"] < result.metrics["steps"]
    held = read_tensors(result.adapter_dir / "model.safetensors")
    trained = [p for p in result.manifest.parameters if p.state == "trainable"]
    assert {key: info.sha256 for key, info in held.items()} == {p.name: p.after for p in trained}


def test_8_bit_adam_trains_and_is_another_optimizer(tmp_path: Path):
    pytest.importorskip("bitsandbytes")
    small = compile_with(LLAVA, tmp_path, optim="adamw_8bit", method="full", learning_rate=2e-3)
    usual = compile_with(LLAVA, tmp_path, method="full", learning_rate=2e-3)
    losses = small.trained.metrics["losses"]
    assert losses[-1] < losses[0]
    assert losses != usual.trained.metrics["losses"]
    assert small.report.failure is None
    assert "bitsandbytes" in small.artifact.lock.versions
    assert "bitsandbytes" not in usual.artifact.lock.versions


def test_8_bit_adam_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    from apps.trainer.optimizer import make_optimizer

    with pytest.raises(TrainError, match="needs bitsandbytes") as error:
        make_optimizer({}, VLMTrainConfig(optim="adamw_8bit"))
    assert "pip install" in error.value.hint


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ({"parts": {"projector": "warmup"}, "projector_warmup_steps": 6}, "8 rows make 6 steps"),
        ({"parts": {"language": "frozen", "projector": "frozen"}}, "every part is frozen"),
        ({"method": "dora", "parts": {"language": "full"}}, "method: dora has no effect"),
        (
            {"parts": {"language": "frozen", "projector": "warmup"}, "projector_warmup_steps": 1},
            "nothing is trained after the warm-up",
        ),
        ({"parts": {"projector": "frozen"}, "projector_lr": 1e-3}, "projector_lr has no effect"),
        ({"lora_targets": ["experts"]}, "match no layer of the language tower: experts"),
    ],
    ids=["warm-up", "nothing", "no-adapters", "nothing-after", "rate", "experts"],
)
def test_settings_that_would_do_nothing_are_refused(tmp_path: Path, train: dict[str, Any], says: str):
    with pytest.raises(SpecError, match=says) as error:
        compile_with(LLAVA, tmp_path, **train)
    assert error.value.hint


def test_a_mixtures_experts_are_compiled_and_verified(tiny: Any, tmp_path: Path):
    done = compile_with(tiny("qwen3_vl_moe"), tmp_path, lora_targets=["attention", "experts"], max_steps=3)
    assert done.report.failure is None
    losses = done.trained.metrics["losses"]
    assert losses[-1] < losses[0]
    lock = done.artifact.lock
    assert lock.target_parameters == sorted(done.plan.target_parameters)
    assert lock.resolved.stands["experts"] == ["down_proj", "gate_up_proj"]
    assert done.manifest.expert_parameters == [n.removeprefix("model.") for n in done.plan.target_parameters]
    assert done.plan.servable_as == done.manifest.servable_as == "merged"


def test_a_bare_parameter_that_stays_frozen_is_said_in_the_receipt(tiny: Any, tmp_path: Path):
    done = compile_with(tiny("llava_next"), tmp_path, max_steps=2)
    assert done.report.failure is None
    assert done.result.train_block["left_frozen"] == ["image_newline"]
    assert done.manifest.treatments()["projector"] == "full"
    assert "image_newline" not in done.moved


def test_a_tied_embedding_is_not_copied_apart(tiny: Any):
    """PEFT trains a copy of a module it saves; the head would keep the embedding's old weights."""
    from apps.trainer.bases import find_base
    from apps.trainer.load import meta_model

    base = find_base(tiny("gemma3"), model="base")
    config = VLMTrainConfig(freeze_vision=False, parts={"language": "full", "vision": "lora"})
    model = meta_model(base)
    assert model.lm_head.weight is model.get_input_embeddings().weight, "the trap must be there"
    with pytest.raises(SpecError, match="shares a tensor"):
        plan_for(model, base.family, config)
    whole = plan_for(model, base.family, VLMTrainConfig(method="full"))
    assert wrap(model, whole, VLMTrainConfig(method="full")) is model

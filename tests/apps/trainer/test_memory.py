"""Predicted memory: laws of the rehearsal, and the prediction against a real process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from apps.trainer.bases import find_base
from apps.trainer.batch import collate
from apps.trainer.collate import Encoder
from apps.trainer.load import meta_model
from apps.trainer.memory import Memory, from_shapes, on_cpu, on_gpu
from apps.trainer.plan import plan_for
from apps.trainer.processor import load_processor
from apps.trainer.rehearsal import Packed, Rehearsal, Stage
from apps.trainer.survey import survey
from kolm.dataset import dataset_of
from kolm.spec import VLMTrainConfig
from tests.apps.trainer.sizing import sizing_rows
from tests.digits import LLAVA, QWEN, rows


def rehearse(folder: Path, *, checkpointing: bool = False, **settings: object) -> Rehearsal:
    config = VLMTrainConfig(**settings)
    base = find_base(folder, model="base")
    model = meta_model(base)
    encoder = Encoder(load_processor(base), model.config, base.family)
    seen = survey(encoder, dataset_of(rows(4)), config)
    stage = Stage(model, base.family, plan_for(model, base.family, config), config)
    found = stage.rehearse(collate(seen.longest, pad_token=0), checkpointing=checkpointing)
    assert found is not None
    return found


@pytest.mark.parametrize("base", [QWEN, LLAVA], ids=["qwen", "llava"])
def test_the_whole_step_is_rehearsed_with_the_weights_of_the_file(base: Path):
    from kolm.tensors import read_header

    found = rehearse(base)
    held = sum(entry.bytes for entry in read_header(base / "model.safetensors").values())
    assert found.extent == "step"
    assert held <= found.weights_bytes < held * 1.05  # buffers, such as rotary frequencies


def test_checkpointing_runs_the_language_towers_forward_pass_once_more():
    plain, thrifty = (rehearse(QWEN, checkpointing=c, bf16=False) for c in (False, True))
    assert 1.2 * plain.work.flops < thrifty.work.flops < 2 * plain.work.flops


def test_a_larger_batch_takes_more():
    one, four = (rehearse(QWEN, per_device_train_batch_size=n) for n in (1, 4))
    assert four.activations_bytes > 2 * one.activations_bytes
    assert four.weights_bytes == one.weights_bytes


def test_eight_bit_adam_keeps_a_quarter_of_the_moments():
    usual, small = (rehearse(QWEN, optim=optim) for optim in ("adamw_torch", "adamw_8bit"))
    assert small.optimizer_bytes * 4 == usual.optimizer_bytes == 2 * usual.adapter_bytes


def test_a_gpu_holds_no_interpreter():
    found = rehearse(QWEN)
    assert on_gpu(found).process_bytes == on_gpu(found).allocator_bytes == 0
    assert on_gpu(found).total_bytes == found.total_bytes < on_cpu(found, rows_bytes=0).total_bytes


def test_a_peak_is_the_sum_of_its_pieces():
    assert Memory(1, 2, 3, 4, 5, 6, 7, 8).total_bytes == 36


def test_four_bits_and_their_scales():
    """arXiv:2305.14314: 64 weights share a scale, 256 scales of one byte share another."""
    once = Packed.of([64 * 256], bits=4, double=False, width=2)
    twice = Packed.of([64 * 256], bits=4, double=True, width=2)
    assert once.saved_bytes == 64 * 256 * 2 - (64 * 128 + 4 * 256)
    assert twice.saved_bytes == 64 * 256 * 2 - (64 * 128 + 256 + 4)


def test_shapes_alone_give_the_same_weights_and_adapter():
    config = VLMTrainConfig()
    base = find_base(QWEN, model="base")
    plan = plan_for(meta_model(base), base.family, config)
    guessed = from_shapes(plan, config, tokens=35, patches=36, checkpointing=False)
    found = rehearse(QWEN)
    assert guessed.adapter_bytes == found.adapter_bytes
    assert guessed.weights_bytes == pytest.approx(found.weights_bytes, rel=0.05)
    assert guessed.activations_bytes == pytest.approx(found.activations_bytes, rel=1.0)


@pytest.mark.slow
def test_known_models_are_planned_from_their_configs_alone():
    (row,) = sizing_rows(("Qwen2.5-VL-3B",))
    assert row.parameters == 3_754_622_976
    assert 2 * row.parameters < row.checkpointed_bytes < row.plain_bytes
    assert row.nearer == "with"


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.apps.trainer.medium import build

    return build(tmp_path_factory.mktemp("medium") / "base")


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--checkpointing"]], ids=["plain", "checkpointed"])
def test_the_prediction_is_within_a_fifth_of_the_measured_peak(medium: Path, options: list[str]):
    command = [sys.executable, "-m", "tests.apps.trainer.medium", str(medium), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["predicted"] == pytest.approx(found["measured"], rel=0.2)

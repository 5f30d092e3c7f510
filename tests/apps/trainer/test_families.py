"""Routing: which family a base belongs to, and who owns each of its parameters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from apps.trainer.families import families, family_of
from kolm.errors import SpecError, UnknownFamilyError


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl"),
        ("Qwen/Qwen2.5-VL-72B-Instruct", "qwen2_5_vl"),
        ("unsloth/Qwen2.5-VL-7B-Instruct-bnb-4bit", "qwen2_5_vl"),
        ("llava-hf/llava-1.5-7b-hf", "llava"),
        ("liuhaotian/llava-v1.5-13b", "llava"),
    ],
)
def test_a_hub_id_routes_to_its_family(model: str, family: str):
    assert family_of(model).name == family


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen2-VL-7B-Instruct", "openai/gpt-oss-20b", "llava-hf/llava-v1.6-mistral-7b-hf"]
)
def test_an_unknown_id_names_the_nearest_families(model: str):
    with pytest.raises(UnknownFamilyError) as error:
        family_of(model)
    assert model in error.value.message
    assert "known families" in error.value.hint
    assert error.value.exit_code == 2


def test_the_config_decides_and_not_the_folder_name(tmp_path: Path):
    folder = tmp_path / "Qwen2.5-VL-renamed"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"}))
    assert family_of(folder).name == "llava"


@pytest.mark.parametrize("content", [None, "{", "[]", '{"architectures": []}'])
def test_a_folder_without_a_readable_config_is_no_checkpoint(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(SpecError, match="not a model checkpoint"):
        family_of(tmp_path)


@pytest.mark.parametrize(
    ("family", "name", "part"),
    [
        ("qwen2_5_vl", "visual.blocks.0.attn.qkv.weight", "vision"),
        ("qwen2_5_vl", "visual.merger.mlp.0.weight", "projector"),
        ("qwen2_5_vl", "visual.merger_like.weight", "vision"),
        ("qwen2_5_vl", "language_model.layers.0.mlp.gate_proj.lora_A", "language"),
        ("qwen2_5_vl", "lm_head.weight", "head"),
        ("qwen2_5_vl", "something_else.weight", None),
        ("llava", "vision_tower.encoder.layers.0.self_attn.q_proj.weight", "vision"),
        ("llava", "multi_modal_projector.linear_1.weight", "projector"),
    ],
)
def test_the_longest_path_owns_a_parameter(family: str, name: str, part: str | None):
    chosen = next(f for f in families() if f.name == family)
    assert chosen.part_of(name) == part


def test_every_family_cites_its_papers():
    assert all(paper.startswith("arXiv:") for family in families() for paper in family.papers)
    assert all(family.papers for family in families())


def test_qwens_receipt_cites_the_two_papers_it_promises():
    chosen = family_of("Qwen/Qwen2.5-VL-3B-Instruct")
    assert chosen.papers == ("arXiv:2502.13923", "arXiv:2304.08485")


def test_routing_an_id_loads_no_torch():
    code = (
        "import sys; from apps.trainer.families import family_of; family_of('llava-hf/llava-1.5-7b-hf');"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

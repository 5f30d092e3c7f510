"""Routing: which family a base belongs to, and who owns each of its parameters."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apps.trainer.families import Family, families, family_of
from kolm.errors import SpecError, UnknownFamilyError

ROUTES = {
    "Qwen/Qwen2-VL-7B-Instruct": "qwen2_vl",
    "Qwen/Qwen2-VL-72B-Instruct": "qwen2_vl",
    "Qwen/Qwen2.5-VL-3B-Instruct": "qwen2_5_vl",
    "Qwen/Qwen2.5-VL-7B-Instruct": "qwen2_5_vl",
    "Qwen/Qwen2.5-VL-72B-Instruct": "qwen2_5_vl",
    "unsloth/Qwen2.5-VL-7B-Instruct-bnb-4bit": "qwen2_5_vl",
    "Qwen/Qwen3-VL-4B-Instruct": "qwen3_vl",
    "Qwen/Qwen3-VL-8B-Instruct": "qwen3_vl",
    "Qwen/Qwen3-VL-30B-A3B-Instruct": "qwen3_vl_moe",
    "Qwen/Qwen3-VL-235B-A22B-Instruct": "qwen3_vl_moe",
    "Qwen/Qwen3-Omni-30B-A3B-Instruct": "qwen3_omni_moe",
    "moonshotai/Kimi-VL-A3B-Instruct": "kimi_vl",
    "moonshotai/Kimi-K2.5": "kimi_k25",
    "google/gemma-3-4b-it": "gemma3",
    "google/gemma-3-27b-it": "gemma3",
    "google/gemma-3n-E4B-it": "gemma3n",
    "nvidia/NVIDIA-Nemotron-Parse-v1.1": "nemotron_parse",
    "nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16": "nemotron_nano_vl",
    "OpenGVLab/InternVL3_5-4B-hf": "internvl",
    "OpenGVLab/InternVL2-8B": "internvl_chat",
    "mistralai/Ministral-3-3B-Instruct-2512": "mistral3",
    "mistralai/Ministral-3-8B-Instruct-2512": "mistral3",
    "mistralai/Ministral-3-14B-Instruct-2512": "mistral3",
    "microsoft/Phi-4-multimodal-instruct": "phi4_multimodal",
    "microsoft/Phi-3.5-vision-instruct": "phi3_v",
    "llava-hf/llava-1.5-7b-hf": "llava",
    "liuhaotian/llava-v1.5-13b": "llava",
    "llava-hf/llava-v1.6-mistral-7b-hf": "llava_next",
    "HuggingFaceM4/idefics-9b-instruct": "idefics",
    "HuggingFaceM4/Idefics3-8B-Llama3": "idefics3",
    "meta-llama/Llama-3.2-11B-Vision-Instruct": "mllama",
    "mistral-community/pixtral-12b": "llava",
    "nyu-visionx/cambrian-8b": "cambrian",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2",
    "Qwen/Qwen3-8B": "qwen3",
    "meta-llama/Llama-3.1-8B-Instruct": "llama",
}

NEIGHBOURS = {
    "google/gemma-3-1b-it": "gemma3_text",
    "google/gemma-3-270m": "gemma3_text",
    "google/gemma-2-9b-it": "gemma2",
    "google/gemma-7b": "gemma",
    "google/gemma-4-E4B-it": "gemma4",
    "google/paligemma2-3b-pt-224": "paligemma",
    "Qwen/Qwen2.5-Omni-7B": "qwen2_5_omni",
    "Qwen/Qwen2.5-Coder-7B-Instruct": "qwen2",
    "Qwen/Qwen2-57B-A14B-Instruct": "qwen2_moe",
    "Qwen/Qwen3-30B-A3B": "qwen3_moe",
    "Qwen/Qwen3-Next-80B-A3B-Instruct": "qwen3_next",
    "Qwen/Qwen3.5-9B": "qwen3_5",
    "Qwen/Qwen3.5-35B-A3B": "qwen3_5_moe",
    "deepseek-ai/DeepSeek-R1": "deepseek_v3",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "qwen2",
    "meta-llama/Llama-2-7b-chat-hf": "llama",
    "meta-llama/Llama-3.2-1B-Instruct": "llama",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama4",
    "unsloth/Llama-3.2-11B-Vision-Instruct-bnb-4bit": "mllama",
    "llava-hf/llama3-llava-next-8b-hf": "llava_next",
    "llava-hf/llava-interleave-qwen-0.5b-hf": "llava",
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": "llava_onevision",
    "llava-hf/vip-llava-7b-hf": "vipllava",
    "LanguageBind/Video-LLaVA-7B-hf": "video_llava",
    "HuggingFaceM4/idefics2-8b": "idefics2",
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": "smolvlm",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": "llama",
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
    "OpenGVLab/InternVL3-8B": "internvl_chat",
    "OpenGVLab/InternVL3-1B-hf": "internvl",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistral",
    "mistralai/Mistral-Small-24B-Instruct-2501": "mistral",
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": "mistral3",
    "mistralai/Ministral-8B-Instruct-2410": "ministral",
    "microsoft/phi-4": "phi3",
    "microsoft/Phi-3-mini-4k-instruct": "phi3",
    "microsoft/Phi-3-vision-128k-instruct": "phi3_v",
    "zai-org/GLM-4.1V-9B-Thinking": "glm4v",
    "zai-org/GLM-4.5V": "glm4v_moe",
    "zai-org/GLM-4-9B-0414": "glm4",
    "CohereLabs/command-a-vision-07-2025": "cohere2_vision",
    "CohereLabs/c4ai-command-r7b-12-2024": "cohere2",
    "ibm-granite/granite-3.3-8b-instruct": "granite",
    "ibm-granite/granite-docling-258M": "granite_docling",
    "microsoft/kosmos-2-patch14-224": "kosmos2",
    "microsoft/kosmos-2.5": "kosmos2_5",
}
"""Ids that look alike and belong apart, text-only models beside vision-language models."""


@pytest.mark.parametrize(("model", "family"), [*ROUTES.items(), *NEIGHBOURS.items()])
def test_a_hub_id_routes_to_its_family(model: str, family: str):
    assert family_of(model).name == family


@pytest.mark.parametrize("model", [*ROUTES, *NEIGHBOURS])
def test_the_name_of_the_account_decides_nothing(model: str):
    assert family_of(model.partition("/")[2]) is family_of(model)


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("openai/gpt-oss-20b", ""),
        ("OpenGVLab/Intern-VL3", "internvl"),
        ("somebody/qwen5-vl", "qwen"),
        ("Qwen/Qwen3-Embedding-0.6B", "qwen3"),
        ("meta-llama/Llama-Guard-3-8B", "llama"),
    ],
)
def test_an_unknown_id_names_the_nearest_families(model: str, near: str):
    with pytest.raises(UnknownFamilyError) as error:
        family_of(model)
    assert model in error.value.message
    assert "known families" in error.value.hint
    assert near in error.value.hint
    assert error.value.exit_code == 2


def checkpoint(folder: Path, config: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_config_decides_and_not_the_folder_name(tmp_path: Path):
    folder = checkpoint(tmp_path / "Qwen2.5-VL-renamed", {"model_type": "llava"})
    assert family_of(folder).name == "llava"


@pytest.mark.parametrize(
    ("model_type", "family"),
    [
        ("gemma3_text", "gemma3_text"),
        ("gemma3", "gemma3"),
        ("qwen3_omni_moe", "qwen3_omni_moe"),
        ("qwen3_omni_moe_thinker", "qwen3_omni_moe"),
        ("qwen2_5_omni_thinker", "qwen2_5_omni"),
        ("phi4mm", "phi4mm"),
        ("NemotronH_Nano_VL_V2", "nemotron_nano_vl"),
        ("cambrian_llama", "cambrian"),
        ("ministral3", "ministral3"),
    ],
)
def test_a_model_type_routes_to_its_family(tmp_path: Path, model_type: str, family: str):
    assert family_of(checkpoint(tmp_path / "base", {"model_type": model_type})).name == family


def test_an_unknown_model_type_names_the_nearest(tmp_path: Path):
    with pytest.raises(UnknownFamilyError) as error:
        family_of(checkpoint(tmp_path / "base", {"model_type": "qwen2_6_vl"}))
    assert "qwen2_5_vl" in error.value.hint


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
        ("llava_next", "image_newline", "projector"),
        ("llama4", "vision_model.vision_adapter.mlp.fc1.weight", "projector"),
        ("llama4", "language_model.lm_head.weight", "head"),
        ("phi4_multimodal", "embed_tokens_extend.image_embed.img_projection_up.weight", "projector"),
        ("phi4_multimodal", "embed_tokens_extend.audio_embed.up_proj_for_speech.weight", "audio"),
        ("phi4_multimodal", "embed_tokens.weight", "language"),
        ("janus", "generation_head.vision_head.weight", "head"),
    ],
)
def test_the_longest_path_owns_a_parameter(family: str, name: str, part: str | None):
    chosen = next(f for f in families() if f.name == family)
    assert chosen.part_of(name) == part


def test_no_model_type_belongs_to_two_families():
    types = [name for family in families() for name in family.model_types]
    assert len(types) == len(set(types))


def test_every_file_is_named_for_its_family():
    names = {
        path.stem for path in Path("apps/trainer/families").glob("*.py") if "FAMILY = " in path.read_text()
    }
    assert names == {family.name for family in families()}


def each() -> list[object]:
    return [pytest.param(family, id=family.name) for family in families()]


@pytest.mark.parametrize("family", each())
def test_every_family_says_what_is_needed_of_it(family: Family):
    assert all(re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", paper) for paper in family.papers)
    assert family.papers
    assert family.language
    assert family.head
    assert all(re.compile(pattern, re.IGNORECASE) for pattern in family.ids)
    paths = [*family.vision, *family.projector, *family.language, *family.audio, *family.head]
    assert len(paths) == len(set(paths)), "no path belongs to two parts"
    assert not any(path.startswith("model.") for path in paths), "paths are plain names"


@pytest.mark.parametrize("family", [f for f in families() if f.trainer == "text"], ids=lambda f: f.name)
def test_a_text_family_has_no_eyes(family: Family):
    assert not family.sees_images
    assert family.vision == family.projector == family.audio == family.required_inputs == ()


@pytest.mark.parametrize("family", [f for f in families() if f.trainer == "vlm"], ids=lambda f: f.name)
def test_a_family_with_eyes_says_where_they_are(family: Family):
    assert family.vision or family.projector
    if family.code != "none":
        assert family.image_cost.__name__ != "no_images", "its images would count for nothing"


def test_qwens_receipt_cites_the_two_papers_it_promises():
    chosen = family_of("Qwen/Qwen2.5-VL-3B-Instruct")
    assert chosen.papers == ("arXiv:2502.13923", "arXiv:2304.08485")


def test_routing_an_id_loads_no_torch():
    code = (
        "import sys; from apps.trainer.families import family_of; family_of('llava-hf/llava-1.5-7b-hf');"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The table over every family, on the meta device: who owns each parameter of a model of real size.

What each family's partition is stands in tests/golden/families. After a change that is meant, write it anew
and read the difference: `KOLM_UPDATE_GOLDEN=1 pytest tests/apps/trainer/families`.
"""

import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from apps.trainer.families import Family, Part, families
from apps.trainer.targets import expert_parameters, linear_modules
from kolm.layers import kind_of
from kolm.names import plain_name
from tests.families import WITHOUT_TIMM, meta_build, meta_configs, meta_labels

GOLDEN = Path(__file__).parents[3] / "golden" / "families"
PARTS: tuple[Part, ...] = ("vision", "projector", "language", "audio", "head")

LEFT_OUT = {
    "diffusion_gemma": "writes by denoising blocks of text; there is no next token to learn from",
    "evolla": "reads proteins, not images",
    "pi0": "moves robots: its output is an action, not text",
    "pp_formulanet": "reads one formula, takes no prompt",
    "shieldgemma2": "classifies images by policies; writes no text",
    "udop": "takes words and boxes of a page beside the image, which no row holds",
    "vision-encoder-decoder": "joins any two models: its paths are not those of one family",
}
"""Types of `AutoModelForImageTextToText` that no family claims, and why."""

LABELS = meta_labels()
CHECKED = [family.name for family in families() if family.checked]


def names_of(label: str) -> list[str]:
    return [plain_name(name) for name, _ in meta_build(label).named_parameters()]


def claims(family: Family, name: str) -> list[tuple[int, Part]]:
    """Every path that holds a name, longest first."""
    found = [
        (len(path), part)
        for part in PARTS
        for path in getattr(family, part)
        if name == path or name.startswith(f"{path}.")
    ]
    return sorted(found, reverse=True)


def pattern(name: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)


def grouped(names: set[str]) -> list[str]:
    """Join the leaves of one module: `visual.merger.ln_q.{bias,weight}`."""
    modules: dict[str, list[str]] = {}
    for name in sorted(names):
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, []).append(leaf)
    return [
        f"{module}.{{{','.join(leaves)}}}" if len(leaves) > 1 else f"{module}.{leaves[0]}".lstrip(".")
        for module, leaves in modules.items()
    ]


def summary(label: str) -> dict[str, Any]:
    """What the golden file holds of one model: parts with patterns and counts, and layers by kind."""
    family, _ = meta_configs()[label]
    model = meta_build(label)
    parts: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        part = parts.setdefault(str(family.part_of(plain_name(name))), {"elements": 0, "names": set()})
        part["elements"] += parameter.numel()
        part["names"].add(pattern(plain_name(name)))
    layers: dict[str, set[str]] = {}
    for name in linear_modules(model):
        plain = plain_name(name)
        if family.part_of(plain) == "language":
            layers.setdefault(kind_of(plain), set()).add(plain.rpartition(".")[2])
    experts = {pattern(plain_name(name)) for name in expert_parameters(model, family)}
    return {
        "parts": {part: {**found, "names": grouped(found["names"])} for part, found in sorted(parts.items())},
        "layers": {kind: sorted(leaves) for kind, leaves in sorted(layers.items())},
        "experts": sorted(experts),
    }


def test_every_type_that_transformers_accepts_is_claimed_or_left_out_for_a_reason():
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    claimed = {name for family in families() for name in family.model_types}
    assert set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) - claimed == set(LEFT_OUT)


def test_the_table_holds_every_family_whose_code_is_here():
    assert list(meta_configs()) == LABELS
    assert {family.name for family, _ in meta_configs().values()} == set(CHECKED)


@pytest.mark.parametrize("label", LABELS)
def test_every_parameter_and_buffer_falls_in_exactly_one_part(label: str):
    family, _ = meta_configs()[label]
    buffers = [plain_name(name) for name, _ in meta_build(label).named_buffers()]
    for name in (*names_of(label), *buffers):
        held = claims(family, name)
        assert held, f"{name} has no part"
        assert len(held) == 1 or held[0][0] > held[1][0], f"{name} is claimed twice: {held}"


def test_every_path_of_every_family_names_something():
    """A path that no model of the family has is a misspelt one; tied heads are modules without parameters."""
    seen: dict[str, set[str]] = {}
    for label in LABELS:
        family, _ = meta_configs()[label]
        modules = {plain_name(name) for name, _ in meta_build(label).named_modules()}
        seen.setdefault(family.name, set()).update(names_of(label), modules)
    paths = {(f.name, path) for f in families() for part in PARTS for path in getattr(f, part) if f.checked}
    assert {(name, path) for name, path in paths if path not in seen[name]} == set()


@pytest.mark.parametrize("label", [label for label in LABELS if "," not in label])
def test_what_the_usual_names_stand_for_is_there(label: str):
    family, _ = meta_configs()[label]
    leaves = {
        name.rpartition(".")[2]
        for name in linear_modules(meta_build(label))
        if family.part_of(plain_name(name)) == "language"
    }
    assert {leaf for stand_ins in family.stands_for.values() for leaf in stand_ins} <= leaves


@pytest.mark.parametrize("label", LABELS)
def test_required_inputs_are_arguments_of_the_model(label: str):
    family, _ = meta_configs()[label]
    takes = inspect.signature(meta_build(label).forward).parameters
    assert set(family.required_inputs) <= set(takes)
    told_apart = {"mm_token_type_ids"} & set(takes)
    assert told_apart <= set(family.required_inputs), "without them positions or attention are wrong"


@pytest.mark.parametrize("name", CHECKED)
def test_the_partition_is_the_golden_one(name: str):
    found = {label: summary(label) for label in LABELS if meta_configs()[label][0].name == name}
    path = GOLDEN / f"{name}.json"
    if os.environ.get("KOLM_UPDATE_GOLDEN") == "1":
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert json.loads(path.read_text()) == found


def test_no_golden_file_outlives_its_family():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(CHECKED)


def test_families_whose_processor_has_no_pillow_backend_say_that_they_need_torchvision():
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    without = {name for name, found in IMAGE_PROCESSOR_MAPPING_NAMES.items() if found.get("pil") is None}
    asking = {name for f in families() if f.checked and "torchvision" in f.needs for name in f.model_types}
    claimed = {name for family in families() for name in family.model_types}
    by_tower_or_video = {"fast_vlm", "gemma3n", "smolvlm"}
    assert asking - by_tower_or_video == without & claimed


@pytest.mark.parametrize("name", WITHOUT_TIMM)
def test_families_whose_tower_is_replaced_say_that_it_needs_timm(name: str):
    assert "timm" in next(family for family in families() if family.name == name).needs

"""The module manifest: partition, what follows from it, agreement with itself."""

from typing import Any

import pytest

from kolm.errors import ArtifactError, VerificationError
from kolm.modules import Buffer, Gradient, ModuleManifest, Origin, Parameter

DIGEST = "ab" * 32
OTHER = "cd" * 32
FILE = Origin(file="model.safetensors", key="k", relation="identical")
ADDED = Origin(file=None, key=None, relation="absent")


def frozen(name: str, **changes: Any) -> Parameter:
    fields = {"name": name, "shape": [2, 3], "dtype": "float32", "part": "vision", "state": "frozen"}
    return Parameter(
        **{**fields, "before": DIGEST, "after": DIGEST, "base": FILE, "gradient": None, **changes}
    )


def trained(name: str, **changes: Any) -> Parameter:
    seen = Gradient(seen=True, max_norm=0.5)
    fields = {"part": "language", "state": "trainable", "before": None, "base": ADDED, "gradient": seen}
    return frozen(name, **{**fields, **changes})


def manifest(*parameters: Parameter, buffers: tuple[Buffer, ...] = ()) -> ModuleManifest:
    return ModuleManifest.of(
        family="qwen2_5_vl", model_type="qwen2_5_vl", parameters=list(parameters), buffers=list(buffers)
    )


WHOLE = (
    frozen("language_model.layers.0.q_proj.weight", part="language"),
    trained("language_model.layers.0.q_proj.lora_A"),
    trained("language_model.layers.0.q_proj.lora_B"),
    frozen("visual.blocks.0.w"),
    frozen("visual.merger.w", part="projector"),
)


def test_bytes_are_read_back_to_the_same_manifest():
    whole = manifest(*WHOLE)
    assert ModuleManifest.parse(whole.to_bytes()) == whole
    whole.check()


def test_the_short_lists_stand_with_vision_first():
    whole = manifest(*WHOLE)
    assert whole.frozen_modules[0] == "visual.blocks.*"
    assert set(whole.frozen_modules) == {
        "visual.blocks.*",
        "visual.merger",
        "language_model.layers.*.q_proj.weight",
    }
    assert whole.part_states() == {
        "language": ["frozen", "trainable"],
        "projector": ["frozen"],
        "vision": ["frozen"],
    }


def test_what_was_done_to_a_part_follows_from_its_parameters():
    whole = manifest(*WHOLE)
    assert whole.treatments() == {"language": "lora", "projector": "frozen", "vision": "frozen"}
    assert (whole.servable_as, whole.sees_images) == ("lora", True)


def test_nothing_of_a_vision_tower_is_trained_where_there_is_none():
    merger = WHOLE[-1]
    assert manifest(*WHOLE[:3], merger).vision_frozen
    assert manifest(*WHOLE, trained("visual.y", part="projector")).vision_frozen
    assert not manifest(*WHOLE, trained("visual.blocks.0.lora_A", part="vision")).vision_frozen


def test_the_type_of_the_weights_is_that_of_most_which_the_base_has():
    half = frozen("visual.blocks.1.w", dtype="bfloat16", shape=[9])
    packed = frozen("language_model.layers.1.w", part="language", dtype="uint8", shape=[99, 1])
    factor = trained("language_model.layers.1.lora_A", dtype="float64", shape=[99])
    assert manifest(*WHOLE, packed, factor).dtype == "float32"
    assert manifest(half, half, WHOLE[0]).dtype == "bfloat16"
    assert manifest().dtype == ""


def test_one_part_trained_in_full_makes_a_result_that_is_merged():
    names = [p for p in WHOLE if p.part == "language"]
    full = [p.model_copy(update={"state": "trainable", "gradient": None}) for p in names]
    trained = manifest(*full)
    assert trained.treatments() == {"language": "full"}
    assert (trained.servable_as, trained.sees_images) == ("merged", False)


def full(name: str, **changes: Any) -> Parameter:
    return trained(name, before=DIGEST, after=OTHER, base=FILE, **changes)


@pytest.mark.parametrize(
    ("more", "servable"),
    [
        ((), "lora"),
        ((trained("visual.blocks.0.attn.qkv.lora_A", part="vision"),), "lora+connector"),
        ((trained("visual.merger.mlp.0.lora_A", part="projector"),), "lora+connector"),
        ((trained("language_model.layers.0.q_proj.lora_magnitude_vector"),), "merged"),
        ((full("language_model.norm.weight"),), "merged"),
        (
            (
                frozen("language_model.layers.0.experts.down_proj", part="language"),
                trained("language_model.layers.0.experts.lora_A.down_proj"),
            ),
            "merged",
        ),
    ],
    ids=["language", "vision", "projector", "dora", "full", "experts"],
)
def test_how_a_result_can_be_served_follows_from_what_was_trained(more: tuple[Parameter, ...], servable: str):
    whole = manifest(*WHOLE, *more)
    assert whole.servable_as == servable
    whole.check()


def test_what_a_part_trained_in_full_leaves_frozen_is_named():
    line = frozen("image_newline", part="projector")
    weight = full("multi_modal_projector.linear_1.weight", part="projector")
    assert manifest(*WHOLE[:4], line, weight).left_frozen == ["image_newline"]
    assert manifest(*WHOLE, line).left_frozen == []


def test_sizes_tell_added_elements_from_the_bases_own():
    whole = manifest(*WHOLE)
    assert whole.size("language") == 18
    assert whole.size("language", added=True) == 12
    assert whole.size("language", added=False) == 6


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (manifest(*WHOLE, WHOLE[0]), "E_MODULES_MISMATCH"),
        (manifest(*WHOLE).model_copy(update={"frozen_modules": ["visual"]}), "E_MODULES_MISMATCH"),
        (manifest(*WHOLE).model_copy(update={"trainable_modules": []}), "E_MODULES_MISMATCH"),
        (manifest(*WHOLE).model_copy(update={"trainable_modules": ["language_model"]}), "E_MODULES_MISMATCH"),
        (
            manifest(*WHOLE, frozen("visual.x", gradient=Gradient(seen=True, max_norm=1.0))),
            "E_MODULES_MISMATCH",
        ),
        (manifest(*WHOLE, trained("visual.y", gradient=None)), "E_MODULES_MISMATCH"),
        (manifest(*WHOLE, frozen("visual.z", after=OTHER)), "E_FROZEN_CHANGED"),
        (
            manifest(
                *WHOLE,
                buffers=(
                    Buffer(
                        name="visual.inv_freq",
                        shape=[2],
                        dtype="float32",
                        part="vision",
                        base=ADDED,
                        before=DIGEST,
                        after=OTHER,
                    ),
                ),
            ),
            "E_FROZEN_CHANGED",
        ),
    ],
    ids=["twice", "too-wide", "too-short", "overlapping", "gradient", "no-gradient", "changed", "buffer"],
)
def test_a_manifest_that_disagrees_with_itself_is_refused(broken: ModuleManifest, check: str):
    with pytest.raises(VerificationError) as error:
        broken.check()
    assert error.value.check == check


def test_an_unknown_member_is_refused():
    data = manifest(*WHOLE).to_bytes().replace(b'{"buffers"', b'{"aside":1,"buffers"')
    with pytest.raises(ArtifactError, match="aside") as error:
        ModuleManifest.parse(data)
    assert error.value.check == "E_SCHEMA"

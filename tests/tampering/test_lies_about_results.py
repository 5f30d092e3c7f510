"""A trusted key signs a lie about what came out: scores, modules and adapter."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import write_artifact
from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.errors import ArtifactError
from kolm.keys import PrivateKey
from kolm.scorecard import score_artifact
from kolm.verify import verify_bundle
from tests.bundles import Bundle, Members, make_bundle
from tests.fake_model import adapter_tensors, numbers, safetensors
from tests.tampering.lies import audit, edit_json, failed, read

ADAPTER = "adapter/adapter_model.safetensors"


def lie(here: Path, key: PrivateKey, **options: Any) -> Bundle:
    return make_bundle(here, rows=4, key=key, **options)


# Scores


def edit_rows(edit: Callable[[dict[str, Any]], None]) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
        edit(rows[0])
        members["eval/rows.jsonl"] = canonical_lines(rows)

    return change


def better_score(row: dict[str, Any]) -> None:
    row["outputs"]["base"]["score"] = 1.0


def better_extraction(row: dict[str, Any]) -> None:
    row["outputs"]["base"]["extracted"] = "0"


def better_answer(row: dict[str, Any]) -> None:
    row["outputs"]["base"] |= {"raw": "0", "extracted": "0", "score": 1.0}


def another_row(row: dict[str, Any]) -> None:
    row["id"] = "row-999"


def without_the_control(row: dict[str, Any]) -> None:
    del row["outputs"]["grey"]


def without_the_changed_question(row: dict[str, Any]) -> None:
    del row["outputs"]["perturbed"]


def fewer_tokens(row: dict[str, Any]) -> None:
    row["outputs"]["tuned"]["tokens"] = 0


def cut_short(row: dict[str, Any]) -> None:
    row["outputs"]["grey"]["finish"] = "length"


def longer_than_allowed(row: dict[str, Any]) -> None:
    row["outputs"]["grey"]["tokens"] = 33


def without_a_question(row: dict[str, Any]) -> None:
    row["prompt_tokens"] = 0


def without_an_end(row: dict[str, Any]) -> None:
    row["outputs"]["grey"]["tokens"] = 0


@pytest.mark.parametrize(
    "edit",
    [
        better_score,
        better_extraction,
        better_answer,
        another_row,
        without_the_control,
        without_the_changed_question,
        fewer_tokens,
        cut_short,
        longer_than_allowed,
        without_an_end,
    ],
)
def test_attack_50_edited_outputs_under_the_signed_score(
    here: Path, key: PrivateKey, edit: Callable[[dict[str, Any]], None]
) -> None:
    assert failed(audit(lie(here, key, edit=edit_rows(edit)))) == (16, "E_KSCORE")


def test_a_question_without_a_token(here: Path, key: PrivateKey) -> None:
    assert failed(audit(lie(here, key, edit=edit_rows(without_a_question)))) == (16, "E_SCHEMA")


def test_a_question_without_a_picture_cannot_show_that_the_model_looks(here: Path, key: PrivateKey) -> None:
    """With grey pictures it is the same question, so there is no gain to claim."""

    def unseen(members: Members) -> None:
        asked = parse_canonical_lines(read(members, "eval/pack.jsonl"), what="pack")
        del members[f"eval/{asked[0]['image'].pop()}"]
        rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
        rows[0] |= {"image_tokens": 0, "patches": 0}
        rows[0]["outputs"]["tuned"] |= {"raw": "0", "extracted": "0", "score": 1.0}
        members["eval/pack.jsonl"], members["eval/rows.jsonl"] = canonical_lines(asked), canonical_lines(rows)

    scores = audit(lie(here, key, edit=unseen)).checks[15]
    assert scores.code == "E_KSCORE"
    assert scores.detail == "row row-000 shows no picture, and answers differently without one"


@pytest.mark.parametrize("honest", [True, False])
def test_equal_questions_have_equal_answers(here: Path, key: PrivateKey, honest: bool) -> None:
    def asked_again(members: Members) -> None:
        asked = parse_canonical_lines(read(members, "eval/pack.jsonl"), what="pack")
        del members[f"eval/{asked[1]['image'][0]}"]
        asked[1]["image"] = asked[0]["image"]
        rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
        if not honest:
            rows[1]["outputs"]["tuned"] |= {"raw": "1", "extracted": "1", "score": 1.0}
        members["eval/pack.jsonl"], members["eval/rows.jsonl"] = canonical_lines(asked), canonical_lines(rows)

    scores = audit(lie(here, key, edit=asked_again, tuned_right=0.0)).checks[15]
    said = "row row-001 asks what row row-000 asks, and is answered otherwise"
    assert (scores.detail == said) is not honest


def test_outputs_in_another_order(here: Path, key: PrivateKey) -> None:
    def reorder(members: Members) -> None:
        rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
        members["eval/rows.jsonl"] = canonical_lines(rows[::-1])

    scores = audit(lie(here, key, edit=reorder)).checks[15]
    assert scores.detail == "eval/rows.jsonl does not hold the rows of the pack in its order"


def test_a_slice_without_a_metric(here: Path, key: PrivateKey) -> None:
    def unmeasured(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock.update(metrics={}))

    assert audit(lie(here, key, edit=unmeasured)).checks[15].code == "E_KSCORE"


def higher_k(k: dict[str, Any]) -> None:
    k["value"] = 0.99


def narrower_interval(k: dict[str, Any]) -> None:
    k["interval"] = [k["value"], k["value"]]


def better_axis(k: dict[str, Any]) -> None:
    k["axes"]["S"]["value"] = 1.0


def kinder_evidence(k: dict[str, Any]) -> None:
    k["axes"]["L"]["evidence"] = "recomputable"


def worse_base(k: dict[str, Any]) -> None:
    k["accuracy"]["base"]["value"] = 0.0


def steadier_answers(k: dict[str, Any]) -> None:
    k["accuracy"]["consistency"]["n"] += 1


def smaller_p_value(k: dict[str, Any]) -> None:
    k["accuracy"]["slices"]["read"]["gain"]["p_holm"] = 0.000001


def a_pass(k: dict[str, Any]) -> None:
    k["gate"]["verdict"] = "PASS"


def lower_threshold(k: dict[str, Any]) -> None:
    k["gate"]["conditions"][0]["required"] = 0.1


def better_published_score(k: dict[str, Any]) -> None:
    k["other"]["k-score-1"]["value"] = 0.99


@pytest.mark.parametrize(
    "edit",
    [
        higher_k,
        narrower_interval,
        better_axis,
        kinder_evidence,
        worse_base,
        steadier_answers,
        smaller_p_value,
        a_pass,
        lower_threshold,
        better_published_score,
    ],
)
def test_attack_50_a_score_that_the_outputs_do_not_give(
    here: Path, key: PrivateKey, edit: Callable[[dict[str, Any]], None]
) -> None:
    bundle = lie(here, key, claim=lambda facts: edit(facts["k_score"]))
    assert failed(audit(bundle)) == (16, "E_KSCORE")


def in_another_order(timings: list[dict[str, Any]]) -> None:
    timings.reverse()


def without_a_slow_one(timings: list[dict[str, Any]]) -> None:
    del timings[-1]


def with_a_fast_one_again(timings: list[dict[str, Any]]) -> None:
    timings.append(timings[0])


@pytest.mark.parametrize("edit", [in_another_order, without_a_slow_one, with_a_fast_one_again])
def test_timings_of_other_rows_are_not_believed(
    here: Path, key: PrivateKey, edit: Callable[[list[dict[str, Any]]], None]
) -> None:
    bundle = lie(here, key, claim=lambda facts: edit(facts["timings"]["rows"]))
    assert failed(audit(bundle)) == (16, "E_KSCORE")


def test_a_near_duplicate_that_waits_is_not_hidden_from_the_gate(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, claim=lambda facts: facts["near_duplicates"].update(found=1, waiting=1))
    assert failed(audit(bundle)) == (16, "E_KSCORE")


@pytest.mark.parametrize(
    ("member", "counts"),
    [
        ("near_duplicates", {"found": 2, "reviewed": 1, "waiting": 0}),
        ("evaluation", {"batch": 8, "compared": 1, "differing": 2}),
    ],
)
def test_counts_that_do_not_add_up_are_not_signed(
    here: Path, key: PrivateKey, member: str, counts: dict[str, int]
) -> None:
    with pytest.raises(ArtifactError, match=r"near duplicates|more answers differ") as raised:
        lie(here, key, claim=lambda facts: facts[member].update(counts))
    assert raised.value.check == "E_SCHEMA"


@pytest.mark.parametrize("attempts", [0, -1])
def test_a_run_that_is_no_attempt(here: Path, key: PrivateKey, attempts: int) -> None:
    with pytest.raises(ArtifactError, match="attempts") as raised:
        lie(here, key, claim=lambda facts: facts["k_score"].update(attempts=attempts))
    assert raised.value.check == "E_SCHEMA"


def test_a_faster_run_changes_the_l_axis(here: Path, key: PrivateKey) -> None:
    def faster(facts: dict[str, Any]) -> None:
        for row in facts["timings"]["rows"]:
            row["tuned_ns"] = 1

    assert failed(audit(lie(here, key, claim=faster))) == (16, "E_KSCORE")


def test_parameter_counts_that_flatter_the_cost(here: Path, key: PrivateKey) -> None:
    def cheaper(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock["cost"].update(added_params=0))

    facts = lie(here / "draft", key, edit=cheaper).facts
    k = score_artifact(facts.artifact, timings=facts.timings["rows"], attempts=1, near_duplicates=0)
    assert k["axes"]["C"]["value"] > facts.k_score["axes"]["C"]["value"]
    scores = audit(lie(here / "final", key, edit=cheaper, k_score=k)).checks[15]
    assert (scores.code, scores.detail) == (
        "E_KSCORE",
        "the lock's parameter counts are not the module manifest's",
    )


# Modules


def fewer_frozen_patterns(block: dict[str, Any]) -> None:
    block["frozen_modules"] = block["frozen_modules"][1:]


def a_trained_tower(block: dict[str, Any]) -> None:
    block["freeze_vision"] = False


@pytest.mark.parametrize("edit", [fewer_frozen_patterns, a_trained_tower])
def test_attack_46_a_training_block_that_lists_other_modules(
    here: Path, key: PrivateKey, edit: Callable[[dict[str, Any]], None]
) -> None:
    bundle = lie(here, key, claim=lambda facts: edit(facts["train_block"]))
    number, code = failed(audit(bundle))
    assert (number, code) in {(9, "E_SPEC_MISMATCH"), (10, "E_MODULES_MISMATCH")}
    assert audit(bundle).checks[9].code == "E_MODULES_MISMATCH"


def wider_pattern(manifest: dict[str, Any]) -> None:
    manifest["frozen_modules"].append("language_model")


def idle_pattern(manifest: dict[str, Any]) -> None:
    manifest["frozen_modules"].append("visual.deepstack")


def a_buffer_listed_twice(manifest: dict[str, Any]) -> None:
    manifest["buffers"] *= 2


def a_buffer_with_a_parameters_name(manifest: dict[str, Any]) -> None:
    manifest["buffers"][0]["name"] = manifest["parameters"][0]["name"]


def a_gradient_without_a_norm(manifest: dict[str, Any]) -> None:
    manifest["parameters"][-1]["gradient"] = {"seen": True, "max_norm": 0}


def a_norm_without_a_gradient(manifest: dict[str, Any]) -> None:
    manifest["parameters"][-1]["gradient"]["seen"] = False


def listed_twice(manifest: dict[str, Any]) -> None:
    manifest["parameters"].append(manifest["parameters"][0])


def frozen_with_a_gradient(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["gradient"] = {"seen": True, "max_norm": 1}


def without_its_kind(manifest: dict[str, Any]) -> None:
    del manifest["kind"]


def a_shape_below_zero(manifest: dict[str, Any]) -> None:
    manifest["buffers"][0]["shape"] = [-1]


def a_key_in_no_file(manifest: dict[str, Any]) -> None:
    manifest["buffers"][0]["base"]["key"] = "rotary"


def a_file_without_a_key(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["base"]["key"] = None


@pytest.mark.parametrize(
    "edit", [without_its_kind, a_shape_below_zero, a_key_in_no_file, a_file_without_a_key]
)
def test_a_module_manifest_of_another_form(
    here: Path, key: PrivateKey, bundle: Bundle, edit: Callable[[Any], None]
) -> None:
    with pytest.raises(ArtifactError):  # nobody signs that by accident
        lie(here, key, edit=lambda members: edit_json(members, "modules.json", edit))
    assert verify_bundle(here / "digits.kolm", None, bundle.trust).checks[10].code == "E_SCHEMA"


def added_and_in_the_base(manifest: dict[str, Any]) -> None:
    manifest["parameters"][-1]["base"] = manifest["parameters"][0]["base"]


@pytest.mark.parametrize(
    "edit",
    [
        added_and_in_the_base,
        wider_pattern,
        idle_pattern,
        listed_twice,
        a_buffer_listed_twice,
        a_buffer_with_a_parameters_name,
        frozen_with_a_gradient,
        a_gradient_without_a_norm,
        a_norm_without_a_gradient,
    ],
)
def test_attack_46_a_module_manifest_that_contradicts_itself(
    here: Path, key: PrivateKey, edit: Callable[[Any], None]
) -> None:
    bundle = lie(here, key, edit=lambda members: edit_json(members, "modules.json", edit))
    assert audit(bundle).checks[9].code == "E_MODULES_MISMATCH"


def test_a_pattern_that_stands_for_nothing_is_named(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, edit=lambda members: edit_json(members, "modules.json", idle_pattern))
    assert audit(bundle).checks[9].detail == "visual.deepstack stands for no parameter"


def test_attack_48_a_frozen_parameter_that_changed(here: Path, key: PrivateKey) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["parameters"][0]["after"] = "0" * 64

    bundle = lie(here, key, edit=lambda members: edit_json(members, "modules.json", change))
    assert failed(audit(bundle)) == (12, "E_FROZEN_CHANGED")


def test_attack_48_a_buffer_that_changed(here: Path, key: PrivateKey) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["buffers"][0]["after"] = "0" * 64

    bundle = lie(here, key, edit=lambda members: edit_json(members, "modules.json", change))
    assert failed(audit(bundle)) == (12, "E_FROZEN_CHANGED")


# Adapter


def swapped(members: Members) -> None:
    members[ADAPTER] = safetensors(adapter_tensors(7, projector="frozen"))


def with_a_vision_tensor(members: Members) -> None:
    tensors = adapter_tensors(0, projector="frozen")
    tensors["base_model.model.model.visual.blocks.0.attn.qkv.lora_A.weight"] = numbers("x", 2, 4)
    members[ADAPTER] = safetensors(tensors)


def without_a_factor(members: Members) -> None:
    tensors = adapter_tensors(0, projector="frozen")
    members[ADAPTER] = safetensors(dict(list(tensors.items())[:1]))


def reshaped(members: Members) -> None:
    tensors = adapter_tensors(0, projector="frozen")
    members[ADAPTER] = safetensors({name: ((4, 1), raw) for name, (_, raw) in tensors.items()})


def with_a_full_weight(members: Members) -> None:
    tensors = adapter_tensors(0, projector="full")
    members[ADAPTER] = safetensors(tensors)


def other_targets(members: Members) -> None:
    config = json.loads(read(members, "adapter/adapter_config.json"))
    config["target_modules"] = ["q_proj"]
    members["adapter/adapter_config.json"] = json.dumps(config).encode()


def other_rank(members: Members) -> None:
    config = json.loads(read(members, "adapter/adapter_config.json"))
    members["adapter/adapter_config.json"] = json.dumps(config | {"r": 4}).encode()


@pytest.mark.parametrize(
    "edit",
    [
        swapped,
        with_a_vision_tensor,
        without_a_factor,
        reshaped,
        with_a_full_weight,
        other_targets,
        other_rank,
    ],
)
def test_attack_47_an_adapter_that_is_not_what_was_trained(
    here: Path, key: PrivateKey, edit: Callable[[Members], None]
) -> None:
    assert failed(audit(lie(here, key, edit=edit))) == (11, "E_MODULES_ADAPTER")


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00{}x"])
def test_attack_68_an_adapter_that_is_no_safetensors_file(
    here: Path, key: PrivateKey, content: bytes
) -> None:
    bundle = lie(here, key, edit=lambda members: members.update({ADAPTER: content}))
    assert failed(audit(bundle)) == (11, "E_TENSOR_FORMAT")


@pytest.mark.parametrize(
    ("member", "content", "code"),
    [
        ("eval/pack.yaml", b"kolm-pack: 2\n", "E_EVAL_PACK"),
        ("eval/pack.yaml", b"[", "E_EVAL_PACK"),
        ("eval/pack.jsonl", b'{"id":"a"}\n', "E_SCHEMA"),
    ],
    ids=["of another version", "no YAML", "a row without a question"],
)
def test_a_pack_that_is_none(bundle: Bundle, tmp_path: Path, member: str, content: bytes, code: str) -> None:
    """No receipt can be made for it: an artifact that was made by hand."""
    path, manifest = tmp_path / "x.kolm", bundle.facts.artifact.manifest
    members = {**bundle.members, member: content}
    base = manifest.base.model_dump()
    write_artifact(path, members, name="digits", task=manifest.task, family=manifest.family, base=base)
    checks = verify_bundle(path, bundle.receipt, bundle.trust).checks
    assert [checks[at].code for at in (13, 14)] == [code, code]


def test_pictures_that_are_there_and_are_called_withheld(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, edit=lambda members: members.update({"eval/images.json": b"{}"}))
    stages = audit(bundle).checks[6]
    assert (stages.code, stages.detail) == ("E_CHAIN_LINK", "eval/images.json stands beside the pictures")

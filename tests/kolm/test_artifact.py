from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import LOCK_BYTES, MANIFEST, Artifact, check_members, role_of, write_artifact
from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import cid_of, sha256_hex
from kolm.container import write_container
from kolm.errors import ArtifactError, CheckedError
from kolm.verify.peftconfig import check_config
from tests.bundles import Bundle, make_bundle

NAMES = {"name": "digits", "task": "read the digit", "family": "qwen2_5_vl"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), rows=2)


def base_of(bundle: Bundle) -> dict[str, Any]:
    return bundle.facts.artifact.manifest.base.model_dump()


def rewritten(bundle: Bundle, path: Path, edit: Callable[[dict[str, Any], dict[str, Any]], None]) -> Artifact:
    """Write an artifact whose manifest was changed by hand, as `write_artifact` never would."""
    members = dict(bundle.members)
    manifest = parse_canonical(bundle.facts.artifact.read(MANIFEST), what=MANIFEST)
    edit(manifest, members)
    write_container(path, {MANIFEST: canonical_json(manifest), **members})
    return Artifact.open(path)


def test_the_same_members_give_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    again = dict(reversed(list(bundle.members.items())))
    path = tmp_path / "again.kolm"
    assert write_artifact(path, again, base=base_of(bundle), **NAMES) == bundle.cid
    assert path.read_bytes() == bundle.artifact_path.read_bytes()


def test_two_compiles_of_the_same_inputs_have_one_cid_and_another_seed_has_another(tmp_path: Path) -> None:
    first, second = (make_bundle(tmp_path / name, rows=2) for name in ("first", "second"))
    assert first.cid == second.cid == cid_of(first.artifact_path.read_bytes())
    assert make_bundle(tmp_path / "third", rows=2, seed=1).cid != first.cid


def test_the_manifest_lists_every_other_member(bundle: Bundle) -> None:
    artifact = Artifact.open(bundle.artifact_path)
    assert [member.path for member in artifact.manifest.members] == sorted(bundle.members)
    check_members(artifact)


def test_documents_are_parsed(bundle: Bundle) -> None:
    artifact = Artifact.open(bundle.artifact_path)
    assert artifact.manifest.name == "digits"
    assert artifact.lock.config["lora_r"] == 2
    assert artifact.modules.trainable[-1].endswith("q_proj.lora_B")


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("spec.yaml", "spec"),
        ("processor/chat_template.jinja", "processor"),
        ("adapter/adapter_model.safetensors", "adapter"),
        (f"eval/images/{'0' * 64}.png", "image"),
    ],
)
def test_a_member_has_a_role(path: str, role: str) -> None:
    assert role_of(path) == role


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("processor/processing.py", "E_POLICY_CODE"),
        ("processor/weights.bin", "E_POLICY_CODE"),
        ("adapter/adapter_model.bin", "E_MEMBER_UNLISTED"),
        ("adapter/README.md", "E_MEMBER_UNLISTED"),
        ("eval/images/1.png", "E_MEMBER_UNLISTED"),
        ("spec.yaml\n", "E_MEMBER_UNLISTED"),
        ("receipt.json", "E_MEMBER_UNLISTED"),
    ],
)
def test_a_member_that_no_artifact_has(path: str, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        role_of(path)
    assert caught.value.check == code


def test_writing_refuses_a_missing_member_and_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    members = {name: data for name, data in bundle.members.items() if name != "modules.json"}
    with pytest.raises(ArtifactError, match=r"lacks modules\.json"):
        write_artifact(tmp_path / "x.kolm", members, base=base_of(bundle), **NAMES)
    assert list(tmp_path.iterdir()) == []


def test_writing_refuses_code(bundle: Bundle, tmp_path: Path) -> None:
    members = {**bundle.members, "processor/evil.py": b"print()"}
    with pytest.raises(ArtifactError) as caught:
        write_artifact(tmp_path / "x.kolm", members, base=base_of(bundle), **NAMES)
    assert caught.value.check == "E_POLICY_CODE"
    assert list(tmp_path.iterdir()) == []


def test_members_may_be_files(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(bytes(bundle.members["adapter/adapter_model.safetensors"]))  # type: ignore[arg-type]
    members = {**bundle.members, "adapter/adapter_model.safetensors": file}
    assert write_artifact(tmp_path / "x.kolm", members, base=base_of(bundle), **NAMES) == bundle.cid


def listed(manifest: dict[str, Any], path: str) -> dict[str, Any]:
    return next(member for member in manifest["members"] if member["path"] == path)


def unlisted(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    manifest["members"].remove(listed(manifest, "processor/preprocessor_config.json"))


def missing(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    del members["processor/preprocessor_config.json"]


def missing_on_both_sides(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    manifest["members"].remove(listed(manifest, "modules.json"))
    del members["modules.json"]


def wrong_digest(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    listed(manifest, "spec.yaml")["sha256"] = "0" * 64


def wrong_size(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    listed(manifest, "spec.yaml")["bytes"] += 1


def wrong_role(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    listed(manifest, "spec.yaml")["role"] = "processor"


def listed_twice(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    manifest["members"].append(manifest["members"][-1])


def unsorted(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    manifest["members"].reverse()


def with_code(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    code = b"import os"
    member = {"path": "processor/a.py", "bytes": len(code), "sha256": sha256_hex(code), "role": "processor"}
    manifest["members"] = sorted([*manifest["members"], member], key=lambda item: item["path"])
    members["processor/a.py"] = code


def other_kind(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    manifest["kind"] = "kolm-artifact/2"


def extra_member(manifest: dict[str, Any], members: dict[str, Any]) -> None:
    manifest["created"] = "2026-01-31"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (unlisted, "E_MEMBER_UNLISTED"),
        (missing, "E_MEMBER_MISSING"),
        (missing_on_both_sides, "E_MEMBER_MISSING"),
        (wrong_digest, "E_MEMBER_DIGEST"),
        (wrong_size, "E_MEMBER_DIGEST"),
        (wrong_role, "E_SCHEMA"),
        (listed_twice, "E_SCHEMA"),
        (unsorted, "E_SCHEMA"),
        (with_code, "E_POLICY_CODE"),
        (other_kind, "E_SCHEMA"),
        (extra_member, "E_SCHEMA"),
    ],
)
def test_a_manifest_that_is_not_about_these_members(
    bundle: Bundle, tmp_path: Path, edit: Callable[[dict[str, Any], dict[str, Any]], None], code: str
) -> None:
    artifact = rewritten(bundle, tmp_path / "x.kolm", edit)
    with pytest.raises(CheckedError) as caught:
        check_members(artifact)
    assert caught.value.check == code


def padded(bundle: Bundle, path: Path, name: str, size: int) -> Artifact:
    """Write an artifact in which one JSON member has `size` bytes, most of them one text."""
    data = canonical_json({"text": "x" * (size - len('{"text":""}'))})
    members = {MANIFEST: bundle.facts.artifact.read(MANIFEST), **bundle.members, name: data}
    write_container(path, members)
    return Artifact.open(path)


def test_a_manifest_has_no_more_bytes_than_its_members_need(bundle: Bundle, tmp_path: Path) -> None:
    most = (1 << 20) + 512 * (len(bundle.members) + 1)
    for size, code in ((most, "E_SCHEMA"), (most + 1, "E_LIMIT")):
        artifact = padded(bundle, tmp_path / f"{size}.kolm", MANIFEST, size)
        with pytest.raises(ArtifactError) as caught:
            _ = artifact.manifest
        assert caught.value.check == code


def test_the_manifest_of_the_longest_names_fits() -> None:
    """As many members as one likes, each with the longest row that there can be."""
    name = "processor/" + "a" * 240 + ".json"
    row = {"path": name, "bytes": 32 << 30, "sha256": "0" * 64, "role": "pack-rows"}
    assert (len(name), len(canonical_json(row)) + 1 <= 512) == (255, True)


@pytest.mark.parametrize("name", ["spec.lock.json", "adapter/adapter_config.json"])
def test_lock_and_adapter_config_are_limited(bundle: Bundle, tmp_path: Path, name: str) -> None:
    artifact = padded(bundle, tmp_path / "x.kolm", name, LOCK_BYTES + 1)
    with pytest.raises(ArtifactError) as caught:
        check_config(artifact) if name.startswith("adapter") else artifact.lock
    assert caught.value.check == "E_LIMIT"

"""Attacks 21 to 27 and 68 to 70: members, manifest, CIDs, tensors and commitments (attacks.md)."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import MANIFEST, role_of, write_artifact
from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import parse_cid
from kolm.commitments import Salts
from kolm.container import write_container
from kolm.dataset import parse_set
from kolm.errors import ArtifactError, CheckedError, DataError
from kolm.keys import PrivateKey
from kolm.verify import verify_bundle
from registry.app import create_app
from registry.settings import RegistrySettings
from tests.bundles import Bundle, Members, make_bundle
from tests.kolm.test_artifact import (
    listed_twice,
    missing,
    missing_on_both_sides,
    unlisted,
    with_code,
    wrong_digest,
    wrong_size,
)
from tests.kolm.test_canonical import NOT_CANONICAL
from tests.kolm.test_tensors import HOSTILE as TENSORS
from tests.registry.asking import plain_get
from tests.tampering.lies import audit, failed, read

ADAPTER = "adapter/adapter_model.safetensors"
CIDS = json.loads(
    (Path(__file__).resolve().parents[2] / "specs/formats/vectors/cid.json").read_text(encoding="utf-8")
)["invalid"]
Edit = Callable[[dict[str, Any], dict[str, Any]], None]


def first_failure(bundle: Bundle, path: Path) -> tuple[int, str | None]:
    return failed(verify_bundle(path, bundle.receipt, bundle.trust))


def repacked(bundle: Bundle, path: Path, edit: Edit) -> Path:
    """Write the artifact with a manifest that was changed by hand."""
    members = dict(bundle.members)
    manifest = parse_canonical(bundle.facts.artifact.read(MANIFEST), what=MANIFEST)
    edit(manifest, members)
    write_container(path, {MANIFEST: canonical_json(manifest), **members})
    return path


def test_attack_21_a_member_that_is_not_listed(bundle: Bundle, tmp_path: Path) -> None:
    path = repacked(bundle, tmp_path / "x.kolm", unlisted)
    assert first_failure(bundle, path) == (2, "E_MEMBER_UNLISTED")


@pytest.mark.parametrize("edit", [missing, missing_on_both_sides])
def test_attack_22_a_member_that_is_missing(bundle: Bundle, tmp_path: Path, edit: Edit) -> None:
    assert first_failure(bundle, repacked(bundle, tmp_path / "x.kolm", edit)) == (2, "E_MEMBER_MISSING")


@pytest.mark.parametrize("edit", [wrong_digest, wrong_size])
def test_attack_23_a_member_of_another_size_or_digest(bundle: Bundle, tmp_path: Path, edit: Edit) -> None:
    assert first_failure(bundle, repacked(bundle, tmp_path / "x.kolm", edit)) == (2, "E_MEMBER_DIGEST")


def test_attack_23_a_member_listed_twice(bundle: Bundle, tmp_path: Path) -> None:
    assert first_failure(bundle, repacked(bundle, tmp_path / "x.kolm", listed_twice)) == (2, "E_SCHEMA")


@pytest.mark.parametrize(("defect", "data"), NOT_CANONICAL)
def test_attack_24_a_manifest_that_is_not_canonical(
    bundle: Bundle, tmp_path: Path, defect: str, data: bytes
) -> None:
    path = tmp_path / "x.kolm"
    write_container(path, {MANIFEST: data, **bundle.members})
    assert first_failure(bundle, path) == (2, "E_JSON_CANONICAL"), defect


def test_attack_24_the_same_manifest_spelled_otherwise(bundle: Bundle, tmp_path: Path) -> None:
    manifest = bundle.facts.artifact.read(MANIFEST)
    number = next(member["bytes"] for member in json.loads(manifest)["members"])
    others = {
        "a float": manifest.replace(b'"bytes":%d,' % number, b'"bytes":%d.0,' % number, 1),
        "a name twice": b'{"kind":"kolm-artifact/1",' + manifest[1:],
        "a byte order mark": b"\xef\xbb\xbf" + manifest,
        "white space": json.dumps(json.loads(manifest)).encode(),
        "an escape too many": manifest.replace(b"digits", b"\\u0064igits", 1),
    }
    for defect, data in others.items():
        assert data != manifest, defect
        write_container(tmp_path / "x.kolm", {MANIFEST: data, **bundle.members})
        assert first_failure(bundle, tmp_path / "x.kolm") == (2, "E_JSON_CANONICAL"), defect


@pytest.mark.parametrize("case", [c for c in CIDS if c["check"] == "E_CID_SYNTAX"], ids=lambda c: c["defect"])
def test_attack_25_a_cid_that_is_spelled_otherwise(bundle: Bundle, case: dict[str, str]) -> None:
    assert failed(audit(bundle, expected_cid=case["text"])) == (1, "E_CID_SYNTAX")


@pytest.mark.parametrize(
    "spell",
    [
        str.upper,
        lambda cid: cid + "=",
        lambda cid: cid + "\n",
        lambda cid: f" {cid}",
        lambda cid: "f" + cid[1:],
    ],
    ids=["upper case", "padding", "a newline", "a space", "another base"],
)
def test_attack_25_this_artifacts_own_cid_spelled_otherwise(
    bundle: Bundle, spell: Callable[[str], str]
) -> None:
    assert failed(audit(bundle, expected_cid=spell(bundle.cid))) == (1, "E_CID_SYNTAX")


@pytest.mark.parametrize(
    "case", [c for c in CIDS if c["check"] == "E_CID_PROFILE"], ids=lambda c: c["defect"]
)
def test_attack_26_a_cid_of_another_kind(bundle: Bundle, case: dict[str, str]) -> None:
    assert failed(audit(bundle, expected_cid=case["text"])) == (1, "E_CID_PROFILE")


@pytest.mark.parametrize("text", ["b" * 100_000, "bafkrei" + "a" * 100_000, "Qm" * 50_000])
def test_attack_27_a_cid_of_100_kb(tmp_path: Path, text: str) -> None:
    def cost() -> float:
        start = time.perf_counter()
        with pytest.raises(ArtifactError) as caught:
            parse_cid(text)
        assert caught.value.check == "E_CID_SYNTAX"
        return time.perf_counter() - start

    assert min(cost() for _ in range(5)) < 0.001
    (tmp_path / "trust").mkdir()
    application = create_app(RegistrySettings(data=tmp_path / "data", trust=tmp_path / "trust"))
    status, body = asyncio.run(plain_get(application, f"/v1/artifacts/{text}"))
    assert (status, json.loads(body)["check"]) == (400, "E_CID_SYNTAX")


# Tensors and code


@pytest.mark.parametrize("defect", TENSORS)
def test_attack_68_tensors_that_no_loader_should_open(bundle: Bundle, tmp_path: Path, defect: str) -> None:
    path = tmp_path / "x.kolm"
    members = {**bundle.members, ADAPTER: TENSORS[defect]}
    manifest = bundle.facts.artifact.manifest
    base = manifest.base.model_dump()
    write_artifact(path, members, name="digits", task=manifest.task, family=manifest.family, base=base)
    report = verify_bundle(path, bundle.receipt, bundle.trust)
    assert report.checks[10].code == "E_TENSOR_FORMAT"


@pytest.mark.parametrize(
    "name", ["adapter/adapter_model.bin", "adapter/adapter_model.pt", "weights/model.pkl", "train/a.npy"]
)
def test_attack_68_a_pickle_has_no_place(bundle: Bundle, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        role_of(name)
    assert caught.value.check == "E_MEMBER_UNLISTED"
    path = tmp_path / "x.kolm"
    write_container(
        path, {MANIFEST: bundle.facts.artifact.read(MANIFEST), **bundle.members, name: b"\x80\x04."}
    )
    assert first_failure(bundle, path) == (2, "E_MEMBER_UNLISTED")


def test_attack_69_a_module_of_python_beside_the_processor(bundle: Bundle, tmp_path: Path) -> None:
    assert first_failure(bundle, repacked(bundle, tmp_path / "x.kolm", with_code)) == (2, "E_POLICY_CODE")


@pytest.mark.parametrize("name", ["processing.py", "a.so", "a.pyc", "weights.bin", "sub/processing.py"])
def test_attack_69_code_is_not_packed(bundle: Bundle, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        write_artifact(
            tmp_path / "x.kolm",
            {**bundle.members, f"processor/{name}": b"import os"},
            name="digits",
            task="t",
            family="f",
            base=bundle.facts.artifact.manifest.base.model_dump(),
        )
    assert caught.value.check == "E_POLICY_CODE"
    assert list(tmp_path.iterdir()) == []


def test_attack_69_a_processor_config_that_asks_for_code(here: Path, key: PrivateKey) -> None:
    name = "processor/preprocessor_config.json"

    def edit(members: Members) -> None:
        config = json.loads(read(members, name)) | {"auto_map": {"AutoProcessor": "evil.Processor"}}
        members[name] = json.dumps(config).encode()

    bundle = make_bundle(here, rows=4, key=key, edit=edit)
    assert failed(audit(bundle)) == (2, "E_MEMBER_DIGEST")


# Commitments


@pytest.mark.parametrize("lengths", [(0, 32), (32, 0), (16, 32), (32, 31)])
def test_attack_70_commitments_without_a_whole_salt_are_not_made(lengths: tuple[int, int]) -> None:
    salt, key = (b"s" * length for length in lengths)
    with pytest.raises(DataError, match="32 bytes"):
        Salts(salt, key)


@pytest.mark.parametrize("content", ["{}", '{"kind":"kolm-salts/1","salt":"","key":""}', "plain"])
def test_attack_70_a_salts_file_without_salts_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pairs.salts.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="does not hold salts"):
        Salts.load_or_create(path)
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("salt", [None, "", "00", "sha256"])
def test_attack_70_a_set_that_publishes_no_salt(bundle: Bundle, salt: str | None) -> None:
    document = json.loads(read(bundle.members, "train/set.json")) | {"salt": salt}
    if salt is None:
        del document["salt"]
    with pytest.raises(CheckedError) as caught:
        parse_set(canonical_json(document))
    assert caught.value.check == "E_SCHEMA"

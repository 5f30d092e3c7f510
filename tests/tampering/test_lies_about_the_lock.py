"""A trusted key signs a lock that is not what its spec resolves to, or that its own modules deny."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.cid import sha256_hex
from kolm.errors import ArtifactError
from kolm.keys import PrivateKey
from kolm.lock import Lock
from kolm.schema import read_model
from tests.bundles import Bundle, Members, make_bundle
from tests.tampering.lies import audit, edit_json, failed, read
from tests.tampering.test_lies_about_inputs import rechained


def lie(here: Path, key: PrivateKey, **options: Any) -> Bundle:
    return make_bundle(here, rows=4, key=key, **options)


def longer_training(lock: dict[str, Any]) -> None:
    lock["config"]["num_train_epochs"] = 9


def without_a_setting(lock: dict[str, Any]) -> None:
    del lock["config"]["weight_decay"]


def with_another_setting(lock: dict[str, Any]) -> None:
    lock["config"]["curriculum"] = "easy"


def true_for_one(lock: dict[str, Any]) -> None:
    lock["config"]["max_grad_norm"] = True


def larger_pictures(lock: dict[str, Any]) -> None:
    lock["processor"]["max_pixels"] = 1_000_000


def on_a_gpu(lock: dict[str, Any]) -> None:
    lock["config"]["device"] = "cuda"


def sampled(lock: dict[str, Any]) -> None:
    lock["generation"]["greedy"] = False


def a_trained_tower(lock: dict[str, Any]) -> None:
    lock["resolved"]["parts"]["vision"] = "full"


@pytest.mark.parametrize(
    "edit",
    [
        longer_training,
        without_a_setting,
        with_another_setting,
        true_for_one,
        larger_pictures,
        sampled,
        on_a_gpu,
        a_trained_tower,
    ],
)
def test_a_lock_that_is_not_what_the_spec_resolves_to(here: Path, key: PrivateKey, edit: Any) -> None:
    bundle = lie(here, key, edit=lambda members: edit_json(members, "spec.lock.json", edit))
    assert failed(audit(bundle)) == (9, "E_SPEC_MISMATCH")


@pytest.mark.parametrize(("setting", "asked"), [("device", "cuda:0"), ("dtype", "float16"), ("keep", "last")])
def test_a_choice_that_the_spec_had_made(here: Path, key: PrivateKey, setting: str, asked: str) -> None:
    """The lock repeats what the spec asks for, and resolves it to something else."""

    def edit(members: Members) -> None:
        spec = read(members, "spec.yaml").decode()
        members["spec.yaml"] = spec.replace("train:\n", f"train:\n  {setting}: '{asked}'\n", 1).encode()
        edit_json(members, "spec.lock.json", lambda lock: lock["config"].update({setting: asked}))

    spec = audit(lie(here, key, edit=edit)).checks[8]
    assert spec.detail == f"spec, lock and receipt disagree about train.{setting}"


def headless(lock: dict[str, Any]) -> None:
    lock["resolved"]["parts"].pop("head")


def merged(lock: dict[str, Any]) -> None:
    lock["resolved"]["servable_as"] = "merged"


@pytest.mark.parametrize("edit", [headless, merged])
def test_a_lock_that_promises_other_parts(here: Path, key: PrivateKey, edit: Any) -> None:
    bundle = lie(here, key, edit=lambda members: edit_json(members, "spec.lock.json", edit))
    assert failed(audit(bundle)) == (10, "E_MODULES_MISMATCH")


def test_a_lock_that_keeps_other_weights(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock["resolved"].update(keep="last"))

    assert "not the lock's" in audit(lie(here, key, edit=relocked(edit))).checks[13].detail


def relocked(edit: Callable[[Members], None]) -> Callable[[Members], None]:
    """Change the lock and let the log commit to the changed one."""

    def both(members: Members) -> None:
        edit(members)
        digest = sha256_hex(read(members, "spec.lock.json"))
        rechained(lambda commitment, _: commitment.update(lock=digest))(members)

    return both


@pytest.mark.parametrize(
    ("section", "member", "value"),
    [
        ("generation", "temperature", 1),
        ("generation", "max_new_tokens", 0),
        ("processor", "crop", True),
        ("processor", "size", {"height": "9"}),
        ("processor", "backend", ""),
        ("processor", "backend", "opencv"),
        ("resolved", "device", ""),
        ("resolved", "device", "cuda:0"),
        ("versions", "torch", ""),
        ("resolved", "keep", "first"),
        ("resolved", "parts", {"tail": "frozen"}),
        ("resolved", "servable_as", "anything"),
    ],
)
def test_a_lock_with_a_member_or_value_of_its_own(
    bundle: Bundle, tmp_path: Path, section: str, member: str, value: Any
) -> None:
    lock = json.loads(read(bundle.members, "spec.lock.json"))
    lock[section][member] = value
    with pytest.raises(ArtifactError, match=rf"spec\.lock\.json: {section}\.{member}") as caught:
        read_model(Lock, lock, what="spec.lock.json")
    assert caught.value.check == "E_SCHEMA"


def test_a_lock_that_does_not_say_which_kolm_it_is_of(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock["versions"].pop("kolm"))

    assert failed(audit(lie(here, key, edit=edit))) == (8, "E_CHAIN_CONFLICT")


def test_a_device_of_many_is_locked_by_its_kind(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        text = read(members, "spec.yaml").decode()
        members["spec.yaml"] = text.replace("lora_r: 2", "lora_r: 2\n  device: cuda:1").encode()
        edit_json(members, "spec.lock.json", lambda lock: lock["config"].update(device="cuda:1"))
        edit_json(members, "spec.lock.json", lambda lock: lock["resolved"].update(device="cuda"))

    spec = audit(lie(here, key, edit=edit)).checks[8]
    assert spec.detail == "spec, lock and receipt disagree about the receipt's device"

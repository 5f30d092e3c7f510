"""A trusted key signs that weights were quantised, or were not, and its own manifest shows the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kolm.keys import PrivateKey
from tests.bundles import Bundle, Members, make_bundle
from tests.tampering.lies import audit, edit_json, failed


def lie(here: Path, key: PrivateKey, edit: Callable[[dict[str, Any]], Any], member: str) -> Bundle:
    def change(members: Members) -> None:
        edit_json(members, member, edit)

    return make_bundle(here, rows=4, key=key, edit=change)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_packed_weights_that_the_lock_knows_nothing_of(here: Path, key: PrivateKey, dtype: str) -> None:
    def pack(manifest: dict[str, Any]) -> None:
        parameter = next(p for p in manifest["parameters"] if p["state"] == "frozen")
        parameter["dtype"] = dtype

    assert failed(audit(lie(here, key, pack, "modules.json"))) == (10, "E_MODULES_MISMATCH")


@pytest.mark.parametrize("quantization", [{"bits": 4}, {"bits": 8}])
def test_weights_that_are_not_packed_although_the_lock_says_so(
    here: Path, key: PrivateKey, quantization: dict[str, Any]
) -> None:
    def quantise(lock: dict[str, Any]) -> None:
        lock["config"]["quantization"] = quantization

    report = audit(lie(here, key, quantise, "spec.lock.json"))
    assert report.checks[9].code == "E_MODULES_MISMATCH"


@pytest.mark.parametrize("quantization", [{}, {"bits": [4]}, {"bits": "4"}, [], 4, "nf4"])
def test_a_lock_whose_quantization_is_nonsense(here: Path, key: PrivateKey, quantization: Any) -> None:
    def spoil(lock: dict[str, Any]) -> None:
        lock["config"]["quantization"] = quantization

    assert failed(audit(lie(here, key, spoil, "spec.lock.json"))) == (9, "E_SPEC_MISMATCH")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", ""])
def test_weights_that_were_loaded_in_another_type(here: Path, key: PrivateKey, dtype: str) -> None:
    bundle = lie(here, key, lambda lock: lock["resolved"].update(dtype=dtype), "spec.lock.json")
    assert failed(audit(bundle)) == (10, "E_MODULES_MISMATCH")


WEIGHT = "language_model.layers.0.self_attn.q_proj.weight"
NF4, FP4, NESTED = "quant_state.bitsandbytes__nf4", "quant_state.bitsandbytes__fp4", "nested_absmax"


@pytest.mark.parametrize(
    ("asked", "states", "says"),
    [
        ({"bits": 4}, (NF4, NESTED), None),
        ({"bits": 4, "double": False}, (NF4,), None),
        ({"bits": 4, "type": "fp4"}, (NF4, NESTED), "the lock quantises in another format"),
        ({"bits": 4}, (NF4, FP4, NESTED), "the lock quantises in another format"),
        ({"bits": 4}, (NF4,), "the lock quantises in another format"),
        ({"bits": 4, "double": False}, (NF4, NESTED), "the lock quantises in another format"),
        ({"bits": 4}, (), "the lock quantises in another format"),
        (None, (NF4,), "the lock quantises in another format"),
    ],
)
def test_a_format_that_the_quantised_weights_are_not_in(
    here: Path, key: PrivateKey, asked: dict[str, Any] | None, states: tuple[str, ...], says: str | None
) -> None:
    settings = {"type": "nf4", "compute_dtype": "bfloat16", "double": True}

    def pack(manifest: dict[str, Any]) -> None:
        weight = next(p for p in manifest["parameters"] if p["name"] == WEIGHT)
        weight["dtype"] = "uint8" if asked else "float32"
        like = manifest["buffers"][0]
        manifest["buffers"] += [like | {"name": f"{WEIGHT}.{name}", "part": "language"} for name in states]

    def change(members: Members) -> None:
        edit_json(members, "modules.json", pack)
        if asked:
            edit_json(
                members, "spec.lock.json", lambda lock: lock["config"].update(quantization=settings | asked)
            )

    modules = audit(make_bundle(here, rows=4, key=key, edit=change)).checks[9]
    assert modules.detail == says or (says is None and modules.status == "passed")

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.cid import sha256_hex
from kolm.errors import CheckedError, VerificationError
from kolm.trainlog import Chain, base_digest, effective_seed, read_log

ZERO = "0" * 64
COMMITMENT = dict.fromkeys(("spec", "lock", "set", "pack", "base"), ZERO) | {"seed": 7}


def step(number: int, loss: float = 1.5) -> dict[str, Any]:
    rows = {"rows": [f"row-{number}"], "batch": sha256_hex(bytes([number]))}
    return {"step": number, **rows, "lr": 0.001, "loss": loss, "grad_norm": 0.25}


def log_of(*records: dict[str, Any]) -> Chain:
    log = Chain(COMMITMENT)
    for record in records:
        log.append(record)
    return log


def test_a_log_reads_back() -> None:
    log = log_of(step(1), step(2), {"step": 2, "validation_loss": 0.5})
    read = read_log(log.to_bytes())
    assert [entry.step for entry in read.steps] == [1, 2]
    assert read.validations[0].validation_loss == 0.5
    assert read.commitment.seed == 7
    assert read.head == log.head


def validation(number: int, loss: float) -> dict[str, Any]:
    return {"step": number, "validation_loss": loss}


@pytest.mark.parametrize(
    ("losses", "wanted", "kept"),
    [
        ((), None, ("last", 2)),
        ((0.9, 0.5), "last", ("last", 2)),
        ((0.9, 0.5), None, ("best", 2)),
        ((0.5, 0.9), "best", ("best", 1)),
        ((0.5, 0.5), None, ("best", 1)),
    ],
)
def test_the_kept_weights_follow_from_the_log(
    losses: tuple[float, ...], wanted: str | None, kept: tuple[str, int]
) -> None:
    records = []
    for number in (1, 2):
        records += [step(number), *(validation(number, loss) for loss in losses[number - 1 : number])]
    assert read_log(log_of(*records).to_bytes()).kept(wanted) == kept


@pytest.mark.parametrize(
    "records", [[validation(0, 1.0)], [step(1), validation(2, 1.0)], [step(1), step(2), validation(1, 1.0)]]
)
def test_a_validation_stands_after_its_step(records: list[dict[str, Any]]) -> None:
    with pytest.raises(VerificationError, match="out of place"):
        read_log(log_of(*records).to_bytes())


def test_the_head_depends_on_the_commitment_alone() -> None:
    """specs/formats/trainlog.md 5: this value never changes."""
    assert Chain(COMMITMENT).head == "5ae9962eb46c57622fa709802f47116f16f7e619ac856a2d462a1dd37fdc1a2d"


@given(st.data())
def test_any_change_of_any_line_breaks_the_chain(data: st.DataObject) -> None:
    lines = parse_canonical_lines(log_of(step(1), step(2), step(3)).to_bytes(), what="log")
    place = data.draw(st.integers(1, 3))
    member = data.draw(st.sampled_from(["step", "lr", "loss", "grad_norm"]))
    lines[place][member] += 1
    with pytest.raises(CheckedError) as caught:
        read_log(canonical_lines(lines))
    assert caught.value.check == "E_TRAINLOG"


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([step(2)], "E_TRAINLOG"),
        ([step(1), step(1)], "E_TRAINLOG"),
        ([step(1), step(3)], "E_TRAINLOG"),
        ([step(1) | {"note": "x"}], "E_SCHEMA"),
        ([{"step": 1}], "E_SCHEMA"),
        ([step(1) | {"rows": "row-1"}], "E_SCHEMA"),
        ([{"step": -1, "validation_loss": 1.0}], "E_SCHEMA"),
    ],
    ids=["starts-at-2", "twice", "gap", "extra-member", "bare-step", "rows-not-a-list", "negative-step"],
)
def test_a_well_chained_log_of_something_else(records: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(CheckedError) as caught:
        read_log(log_of(*records).to_bytes())
    assert caught.value.check == code


@pytest.mark.parametrize(
    "data",
    [b"", b"{}\n", b"[]\n", b"null\n", b'{"kind":"kolm-trainlog/1"}\n', b"\xff\n", b"{}"],
    ids=["empty", "no-members", "list", "null", "no-commitment", "not-utf8", "no-newline"],
)
def test_what_is_no_log(data: bytes) -> None:
    with pytest.raises(CheckedError) as caught:
        read_log(data)
    assert caught.value.check in {"E_TRAINLOG", "E_SCHEMA", "E_JSON_CANONICAL"}


def test_the_effective_seed_is_bound_to_seed_and_data() -> None:
    """specs/formats/trainlog.md 3: these values never change."""
    assert effective_seed(0, root=ZERO) == 7686251194707195
    assert effective_seed(1, root=ZERO) != effective_seed(0, root=ZERO)
    assert effective_seed(0, root="1" * 64) != effective_seed(0, root=ZERO)


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_the_effective_seed_is_a_json_integer(seed: int, root: bytes) -> None:
    assert 0 <= effective_seed(seed, root=root.hex()) < 2**53


def test_a_base_is_named_by_its_files_and_not_by_their_dict_order() -> None:
    file = {"path": "model.safetensors", "sha256": ZERO, "bytes": 3}
    assert base_digest([file]) == base_digest([dict(reversed(file.items()))])
    assert base_digest([file]) != base_digest([{**file, "bytes": 4}])

"""A publisher who is trusted stores answers that the model never gave, and makes everything else fit them.

Level 0 has to believe it: all of it follows from all of it. Level 1 asks the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apps.eval.replay import ModelReplayer
from apps.trainer.pair import ModelPair, environment_for
from kolm.artifact import Artifact, write_artifact
from kolm.canonical import canonical_json, canonical_lines, parse_canonical, parse_canonical_lines
from kolm.draws import replayed_rows
from kolm.keys import PrivateKey
from kolm.metrics import get_metric
from kolm.pack import pack_from_members
from kolm.predicates import CompilePredicate
from kolm.receipt import CompileFacts, Receipt, build_receipt
from kolm.scorecard import score_artifact
from kolm.statements import COMPILE
from kolm.trust import TrustStore
from kolm.verify import AuditReport, Replay, verify_bundle
from tests.bundles import Members
from tests.compiled import compile_with
from tests.digits import QWEN
from tests.tampering.lies import failed, read

NONCE = bytes(16)
ADAPTER = "adapter/adapter_model.safetensors"


@dataclass(frozen=True)
class Published:
    """An artifact and its receipt, signed with a key that the auditor trusts."""

    artifact: Path
    receipt: bytes
    key: PrivateKey

    @property
    def members(self) -> Members:
        """What the artifact holds beside its manifest."""
        container = Artifact.open(self.artifact).container
        return {name: container.read(name) for name in container.names if name != "manifest.json"}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A real compile of a small base, whose answers its models gave."""
    made = compile_with(QWEN, tmp_path_factory.mktemp("honest"), asked=True, num_train_epochs=1)
    assert made.report.ok
    return Published(made.result.artifact, made.result.receipt.read_bytes(), made.key)


def published(honest: Published, folder: Path, edit: Callable[[Members], None]) -> Published:
    """Change members, compute all that follows from them, and sign it as if it had been so."""
    members, manifest = honest.members, Artifact.open(honest.artifact).manifest
    edit(members)
    path = folder / "digits.kolm"
    named = {"name": manifest.name, "task": manifest.task, "family": manifest.family}
    write_artifact(path, members, base=manifest.base.model_dump(), **named)
    artifact = Artifact.open(path)
    told = compile_statement(honest)
    looked = told["data"]["near_duplicates"]
    k_score = score_artifact(
        artifact,
        timings=told["timings"]["rows"],
        attempts=1,
        near_duplicates=looked and looked["waiting"],
    )
    kept = ("run", "environment", "timings", "memory", "evaluation", "planned", "started", "finished")
    facts = CompileFacts(
        artifact=artifact,
        k_score=k_score,
        train_block=told["vlm_train"],
        near_duplicates=looked,
        **{name: told[name] for name in kept},
    )
    return Published(path, build_receipt(facts, honest.key), honest.key)


def compile_statement(bundle: Published) -> dict[str, Any]:
    statements = Receipt.parse(bundle.receipt).unverified()
    (found,) = (statement for statement in statements if statement.predicate_type == COMPILE)
    return found.as_(CompilePredicate).model_dump()


def audit(bundle: Published, *, rows: int | None = None, level: int = 1, nonce: bytes = NONCE) -> AuditReport:
    models = ModelReplayer(partial(ModelPair.open, base=QWEN), environment_for)
    return verify_bundle(
        bundle.artifact,
        bundle.receipt,
        TrustStore.of(bundle.key.public),
        base_dir=QWEN,
        replay=Replay(models, nonce, rows) if level else None,
    )


def with_the_right_answers(only: str | None = None) -> Callable[[Members], None]:
    """Let the tuned model have said what is right: in every row, or in one."""

    def edit(members: Members) -> None:
        golds = {row.id: row.gold for row in pack_from_members(lambda name: read(members, name)).rows}
        rows = parse_canonical_lines(read(members, "eval/rows.jsonl"), what="rows")
        for row in rows:
            if only in (None, row["id"]):
                gold = golds[row["id"]]
                extracted, score = get_metric("exact@1").judge(gold[0], gold)
                said = {"raw": gold[0], "extracted": extracted, "score": score, "finish": "stop"}
                row["outputs"]["tuned"] |= said
        members["eval/rows.jsonl"] = canonical_lines(rows)

    return edit


def accuracy(bundle: Published) -> float:
    value: float = compile_statement(bundle)["k_score"]["accuracy"]["tuned"]["value"]
    return value


def test_an_honest_compile_says_it_again(honest: Published) -> None:
    report = audit(honest)
    assert report.failure is None
    last = report.checks[17]
    assert (last.status, last.evidence) == ("passed", "replayed")
    assert "4 of 4 rows drawn" in last.detail
    assert "20 of 20 outputs match, 0 in score alone" in last.detail
    assert report.replayed is not None
    assert report.replayed.differences == ["batch was 32, here 1"]


def test_attack_75_answers_replaced_wholesale_and_signed_again(honest: Published, tmp_path: Path) -> None:
    lie = published(honest, tmp_path, with_the_right_answers())
    assert accuracy(honest) < accuracy(lie) == 1.0
    believed = audit(lie, level=0)
    assert believed.failure is None
    report = audit(lie)
    assert failed(report) == (18, "E_REPLAY")
    assert report.failure is not None
    assert "tuned: stored " in report.failure.detail


def test_one_replaced_answer_is_found_when_its_row_is_drawn(honest: Published, tmp_path: Path) -> None:
    rows = parse_canonical_lines(read(honest.members, "eval/rows.jsonl"), what="rows")
    wrong = next(row["id"] for row in rows if row["outputs"]["tuned"]["score"] == 0)
    lie = published(honest, tmp_path, with_the_right_answers(only=wrong))
    cid, ids = Artifact.open(lie.artifact).cid, [row["id"] for row in rows]
    nonces = {replayed_rows(cid, bytes([n]) * 8, ids, 1)[0]: bytes([n]) * 8 for n in range(64)}
    for row_id, nonce in nonces.items():
        assert audit(lie, rows=1, nonce=nonce).ok is (row_id != wrong)
    assert failed(audit(lie, rows=None)) == (18, "E_REPLAY")


def test_one_edited_output_that_nobody_signed_is_found_at_level_0(honest: Published, tmp_path: Path) -> None:
    lie = published(honest, tmp_path, with_the_right_answers(only="row-000"))
    unsigned = Published(lie.artifact, honest.receipt, honest.key)
    assert failed(audit(unsigned, level=0)) == (4, "E_SUBJECT_MISMATCH")


def swapped(members: Members) -> None:
    """Another adapter of the same shapes: every factor with the other sign in its first half."""
    from safetensors.torch import load, save

    tensors = load(read(members, ADAPTER))
    for name, tensor in tensors.items():
        if "lora_B" in name:
            tensors[name] = tensor + 0.5
    members[ADAPTER] = save(tensors, metadata={"format": "pt"})


def swapped_and_described(members: Members) -> None:
    """The same, with the module manifest telling the digests of the other adapter."""
    from safetensors.torch import load

    from apps.trainer.origins import tensor_digest
    from kolm.names import plain_names

    swapped(members)
    modules = parse_canonical(read(members, "modules.json"), what="modules")
    tensors = load(read(members, ADAPTER))
    plain = plain_names(tensors, experts=[])
    digests = {plain[key]: tensor_digest(tensor) for key, tensor in tensors.items()}
    for parameter in modules["parameters"]:
        if parameter["name"] in digests:
            parameter["after"] = digests[parameter["name"]]
    members["modules.json"] = canonical_json(modules)


def test_a_swapped_adapter_is_found_at_level_0(honest: Published, tmp_path: Path) -> None:
    assert failed(audit(published(honest, tmp_path, swapped), level=0)) == (11, "E_MODULES_ADAPTER")


def test_a_swapped_adapter_that_is_described_as_trained_is_found_at_level_1(
    honest: Published, tmp_path: Path
) -> None:
    lie = published(honest, tmp_path, swapped_and_described)
    assert audit(lie, level=0).failure is None
    assert failed(audit(lie)) == (18, "E_REPLAY")

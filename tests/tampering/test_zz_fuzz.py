"""Whatever a member holds, a check answers: it passes or names what is wrong, and nothing else happens."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kolm.artifact import Artifact, write_artifact
from kolm.canonical import canonical_json, canonical_lines
from kolm.errors import KolmError
from kolm.receipt import Receipt
from kolm.verify import CHECKS
from kolm.verify.case import Case
from tests.bundles import Bundle
from tests.tampering.lies import audit, enveloped, leaves, payloads

MEMBERS = (
    "modules.json",
    "spec.lock.json",
    "train/set.json",
    "train/log.jsonl",
    "eval/pack.jsonl",
    "eval/rows.jsonl",
    "adapter/adapter_config.json",
)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
ODD = (None, True, -1, 0, 2**53 - 1, 1e300, "", "..", "\x00", "é" * 300, [], [[]], {}, {"a": 1}, [None])


def places(value: Any) -> list[tuple[Any, ...]]:
    """Paths of every leaf and of everything around it, the whole value included."""
    return sorted({path[:length] for path in leaves(value) for length in range(len(path) + 1)}, key=repr)


def replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = json.loads(json.dumps(value))
    inside = copy
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = odd
    return copy


def documents(member: str, data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()] if member.endswith("l") else [json.loads(data)]


def cases(bundle: Bundle, path: Path) -> Iterator[Case]:
    """One case for each check, with everything that earlier checks would have established."""
    for _ in CHECKS:
        case = Case(path, bundle.receipt, bundle.trust, None, bundle.base_dir, now=NOW)
        case.artifact = Artifact.open(path)
        case.receipt = Receipt.parse(bundle.receipt)
        case.statements = case.receipt.unverified()
        case.opened = []
        case.linked = True
        yield case


@pytest.mark.parametrize("member", MEMBERS)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_member_breaks_a_check(bundle: Bundle, tmp_path: Path, member: str, data: st.DataObject) -> None:
    content = bundle.members[member]
    assert isinstance(content, bytes)
    rows = documents(member, content)
    place = data.draw(st.integers(0, len(rows) - 1))
    path = data.draw(st.sampled_from(places(rows[place])))
    rows[place] = replaced(rows[place], path, data.draw(st.sampled_from(ODD)))
    encoded = canonical_lines(rows) if member.endswith("l") else canonical_json(rows[0])
    file = tmp_path / "odd.kolm"
    base = bundle.facts.artifact.manifest.base.model_dump()
    write_artifact(file, {**bundle.members, member: encoded}, name="digits", task="t", family="f", base=base)
    for step, case in zip(CHECKS, cases(bundle, file), strict=True):
        with suppress(KolmError):  # anything else is a bug, and fails this test
            step.run(case)
        case.artifact.container.close()


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_no_signed_statement_breaks_an_audit(bundle: Bundle, data: st.DataObject) -> None:
    statements = payloads(bundle.receipt)
    place = data.draw(st.integers(0, len(statements) - 1))
    path = data.draw(st.sampled_from(places(statements[place])))
    statements[place] = replaced(statements[place], path, data.draw(st.sampled_from(ODD)))
    report = audit(bundle, enveloped(bundle, [canonical_json(statement) for statement in statements]))
    assert len(report.checks) == len(CHECKS)

"""Ways to change a bundle after it was signed, and to get a changed one signed by its own key."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import sha256_hex
from kolm.dsse import sign_envelope
from kolm.keys import PrivateKey
from kolm.statements import STAGES
from kolm.verify import AuditReport, verify_bundle
from tests.bundles import Bundle, Members

PAGE = Path(__file__).resolve().parents[2] / "specs" / "formats" / "verification.md"
CHECKS, _, CODES = PAGE.read_text(encoding="utf-8").partition("## 3. Codes")
ROWS = {
    int(number): re.findall(r"`(E_[A-Z0-9_]+\*?)`", codes)
    for number, codes in re.findall(r"^\| (\d+) \| .* \| ([^|]*) \|$", CHECKS, re.MULTILINE)
}
"""Number of a check -> the codes of its row."""
ANYWHERE = re.findall(r"`(E_[A-Z0-9_]+)`", CHECKS[CHECKS.index("\nA check that is the first to read") :])
"""Codes that the text below the list gives to every check."""

Statements = list[dict[str, Any]]
STAGE = {stage: place for place, stage in enumerate(STAGES)}
COMPILE, PROVENANCE, TEST_RESULT = 5, 6, 7
"""Places of the statements in a receipt (specs/formats/receipt.md 2)."""


def audit(bundle: Bundle, receipt: bytes | None = None, **options: Any) -> AuditReport:
    """Verify a bundle with its own trust, with another receipt if one is given."""
    return verify_bundle(bundle.artifact_path, receipt or bundle.receipt, bundle.trust, **options)


def failed(report: AuditReport) -> tuple[int, str | None]:
    """Return number and code of the first check that failed; each is in the page's list of checks."""
    assert report.failure is not None, "the lie was believed"
    for check in report.checks:
        assert check.code is None or is_listed(check.number, check.code), (check.number, check.code)
    return report.failure.number, report.failure.code


def is_listed(number: int, code: str) -> bool:
    """Say whether a check may answer with a code, as specs/formats/verification.md 2 has it."""
    return any(fnmatch(code, known) for known in (*ROWS[number], *ANYWHERE))


def resigned(bundle: Bundle, edit: Callable[[Statements], None], *, key: PrivateKey | None = None) -> bytes:
    """Return the receipt with edited statements, each signed again, stages chained again."""
    statements = payloads(bundle.receipt)
    edit(statements)
    chain(statements)
    return enveloped(bundle, [canonical_json(statement) for statement in statements], key=key)


def enveloped(bundle: Bundle, signed: list[bytes], *, key: PrivateKey | None = None) -> bytes:
    """Return a receipt over these payloads, whatever they say."""
    envelopes = [sign_envelope(payload, key or bundle.key) for payload in signed]
    return canonical_json({"kind": "kolm-receipt/1", "artifact": bundle.cid, "envelopes": envelopes})


def payloads(receipt: bytes) -> Statements:
    """Return the statements of a receipt."""
    document = json.loads(receipt)
    return [json.loads(base64.b64decode(envelope["payload"])) for envelope in document["envelopes"]]


def chain(statements: Statements) -> None:
    """Make each stage name the payload before it, as a liar who knows the format would."""
    previous = None
    for statement in statements:
        if "stage" not in statement["predicate"]:
            continue
        statement["predicate"]["previous"] = previous
        previous = sha256_hex(canonical_json(statement))


def build(statements: Statements) -> dict[str, Any]:
    """Return the SLSA build definition."""
    definition: dict[str, Any] = statements[PROVENANCE]["predicate"]["buildDefinition"]
    return definition


def leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every leaf of a JSON value; an empty list or object is one."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    found = False
    for key, child in children:
        found = True
        yield from leaves(child, *path, key)
    if not found:
        yield path


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    """Return a deep copy of a JSON value with another leaf at `path`."""
    copy = json.loads(json.dumps(value))
    inside = copy
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = other(inside[path[-1]])
    return copy


def other(leaf: Any) -> Any:
    """Return a value of the same kind that is not this one."""
    match leaf:
        case bool():
            return not leaf
        case int() | float():
            return leaf + 1
        case str():
            return ("b" if leaf[:1] == "a" else "a") + leaf[1:]
        case None:
            return 0
        case list():
            return [0]
        case _:
            return {"a": 0}


def edit_json(members: Members, name: str, edit: Callable[[Any], None]) -> None:
    """Change a canonical JSON member."""
    value = parse_canonical(read(members, name), what=name)
    edit(value)
    members[name] = canonical_json(value)


def read(members: Members, name: str) -> bytes:
    """Return a member that is held in memory."""
    content = members[name]
    assert isinstance(content, bytes)
    return content

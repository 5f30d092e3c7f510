"""A verifier with one check fewer: a plugin for pytest that lets check KOLM_MUTANT pass whatever it finds.

    KOLM_MUTANT=7 pytest -p tests.mutants tests/tampering -k attack_

The run stops at the first test that notices, by an assertion, and names it in the last line. Where a check
establishes what later ones read, the mutant establishes it too, as leniently as that can be done.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

import kolm.verify
from kolm.cid import CID, cid_of
from kolm.dsse import Opened
from kolm.errors import KolmError
from kolm.receipt import Receipt
from kolm.verify import Step
from kolm.verify.case import Case, Finding

noticed: list[str] = []


def mutated(step: Step) -> Step:
    """Return the check with its judgement taken out: it passes if its attributes can be had at all."""

    def pass_over(case: Case) -> Finding:
        try:
            return step.run(case)
        except step.raises:
            raise
        except KolmError:
            ESTABLISHED.get(step.number, nothing)(case)
            return Finding("not judged")

    return replace(step, run=pass_over)


def nothing(case: Case) -> None:
    """Later checks read nothing of this one."""


def opened_artifact(case: Case) -> None:
    """What cannot be read at all stays unread: there is nothing to go on with."""
    if not hasattr(case, "artifact"):
        pytest.skip("the artifact cannot be read")


def read_receipt(case: Case) -> None:
    """Read a receipt in any spelling, with any other members; no receipt is one without envelopes."""
    document = _loaded(case.receipt_bytes or b"{}")
    about = document.get("artifact", case.artifact.cid if hasattr(case, "artifact") else "")
    envelopes = document.get("envelopes", [])
    case.receipt = Receipt(cid_of(case.receipt_bytes or b""), CID(str(about)), tuple(envelopes))


def opened_envelopes(case: Case) -> None:
    """Take payloads as they are, and key ids as they are named."""
    case.opened = []
    for envelope in case.receipt.envelopes:
        payload = base64.b64decode(str(envelope.get("payload", "")) + "==")
        signatures = envelope.get("signatures") or [{}]
        keyid = str(signatures[0].get("keyid"))
        case.opened.append(
            Opened(payload, keyid if keyid in case.trust.keys else min(case.trust.keys, default=""))
        )


def parsed_statements(case: Case) -> None:
    """Statements of another form cannot be spelled as statements: there is nothing to go on with."""
    if not hasattr(case, "statements"):
        pytest.skip("the statements cannot be read")


def linked(case: Case) -> None:
    """Call the statements those of one compile."""
    case.linked = True


ESTABLISHED: Mapping[int, Callable[[Case], None]] = {
    1: opened_artifact,
    3: read_receipt,
    5: opened_envelopes,
    6: parsed_statements,
    7: linked,
}


def _loaded(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def pytest_configure() -> None:
    """Exchange the check, if one is named."""
    number = int(os.environ.get("KOLM_MUTANT", "0"))
    kolm.verify.CHECKS = tuple(
        mutated(step) if step.number == number else step for step in kolm.verify.CHECKS
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Stop at the first assertion that fails; a test that breaks in another way proves nothing."""
    report = yield
    if call.excinfo is not None and issubclass(call.excinfo.type, AssertionError):
        noticed.append(item.nodeid)
        item.session.shouldstop = "the mutant was noticed"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the test that noticed."""
    terminalreporter.write_line(f"noticed by {noticed[0]}" if noticed else "noticed by nobody")

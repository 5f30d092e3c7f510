"""Every byte of an artifact, its receipt and its log proof counts; and what a dishonest publisher may change.

The second sweep flips a bit inside a member and makes seed, training log, manifest, CID, statements and
signatures anew with the trusted key. Whatever no check can know is listed with its reason in
tests/golden/different_artifacts.json.
"""

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest

from kolm.artifact import Artifact
from kolm.cid import cid_of
from kolm.entries import receipt_entry
from kolm.errors import CheckedError
from kolm.policy import Policy
from kolm.trust import TrustStore
from kolm.verify import CHECKS, Step, verify_bundle
from kolm.verify.case import Case
from tests.bundles import Bundle, make_bundle
from tests.logs import TIME, Log
from tests.tampering.flips import (
    Flip,
    Outcome,
    Publisher,
    changed_place,
    container_regions,
    flipped,
    member_flips,
    proof_regions,
    receipt_regions,
)

DIFFERENT = Path(__file__).parents[1] / "golden" / "different_artifacts.json"
LARGEST = 20_000
NOW = datetime.fromtimestamp(TIME + 60, tz=UTC)
Pattern = Callable[[int], int]
"""What a byte at a place is changed by (xor)."""

EACH_BYTE: list[Pattern] = [lambda place: 1 << place % 8]
EACH_BIT: list[Pattern] = [lambda place, bit=bit: 1 << bit for bit in range(8)]

RECEIPT_STEPS = CHECKS[2:5]

ARTIFACT = {
    "local header": {
        "E_ZIP_PREFIX", "E_ZIP_METHOD", "E_ZIP_HEADER_MISMATCH", "E_ZIP_NAME", "E_ZIP_EXTRA", "E_ZIP_LAYOUT",
        "E_ZIP_TRUNCATED", "E_ZIP_OVERLAP", "E_ZIP64", "E_LIMIT", "E_MEMBER_DIGEST", "E_ZIP_TYPE",
        "E_ZIP_DUPLICATE", "E_ZIP_NAME_COLLISION",
    },
    "member": {"E_MEMBER_DIGEST"},
    "central directory": {
        "E_ZIP_LAYOUT", "E_ZIP_HEADER_MISMATCH", "E_ZIP_OVERLAP", "E_ZIP_EXTRA", "E_ZIP_EOCD", "E_ZIP_TYPE",
        "E_ZIP_TRUNCATED", "E_ZIP64",
    },
    "end record": {"E_ZIP_EOCD", "E_ZIP_LAYOUT", "E_ZIP64"},
}  # fmt: skip
"""What check 1 answers to a flipped bit, by where it is."""

RECEIPT = {
    "structure": {"E_JSON_CANONICAL", "E_SCHEMA", "E_ENVELOPE", "E_LIMIT"},
    "artifact": {"E_JSON_CANONICAL", "E_CID_SYNTAX", "E_CID_PROFILE", "E_SUBJECT_MISMATCH"},
    "kind": {"E_JSON_CANONICAL", "E_SCHEMA"},
    "keyid": {"E_JSON_CANONICAL", "E_KEY_UNTRUSTED", "E_ENVELOPE"},
    "payload": {"E_JSON_CANONICAL", "E_SIG_INVALID", "E_ENVELOPE"},
    "payloadType": {"E_JSON_CANONICAL", "E_PAYLOAD_TYPE"},
    "sig": {"E_JSON_CANONICAL", "E_SIG_INVALID", "E_ENVELOPE"},
}
"""What checks 3 to 5 answer, by the value that was flipped."""

PROOF = {
    "first line": {"E_NOTE_SYNTAX"},
    "index": {"E_NOTE_SYNTAX", "E_LOG_INCLUSION", "E_LOG_LEAF"},
    "hash": {"E_NOTE_SYNTAX", "E_LOG_INCLUSION", "E_LOG_LEAF"},
    "blank": {"E_NOTE_SYNTAX"},
    "origin": {"E_NOTE_SYNTAX", "E_NOTE_SIG"},
    "size": {"E_NOTE_SYNTAX", "E_NOTE_SIG"},
    "root": {"E_NOTE_SYNTAX", "E_NOTE_SIG"},
    "signature": {"E_NOTE_SYNTAX", "E_NOTE_SIG", "E_LOG_KEY"},
    "signature with a time": {"E_NOTE_SYNTAX", "E_NOTE_SIG", "E_LOG_STALE"},
}
"""What check 19 answers, by the line that was flipped."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of one question about one picture."""
    bundle = make_bundle(tmp_path_factory.mktemp("small"), rows=1)
    assert bundle.artifact_path.stat().st_size <= LARGEST
    return bundle


def sweep(
    data: bytes, regions: list[str], patterns: Iterable[Pattern], refusal: Callable[[bytes], Outcome]
) -> dict[str, set[str]]:
    """Flip every byte with each pattern and return the codes by region. A survivor fails."""
    codes: dict[str, set[str]] = defaultdict(set)
    survivors = []
    for pattern in patterns:
        for place, region in enumerate(regions):
            found = refusal(flipped(data, place, pattern(place)))
            if found is None:
                survivors.append((place, pattern(place), region))
            else:
                codes[region].add(str(found[1]))
    assert not survivors
    assert codes.keys() == set(regions)
    return codes


def assert_within(codes: dict[str, set[str]], expected: dict[str, set[str]]) -> None:
    """Compare the codes of each region with those that may answer there."""
    assert {
        region: found - expected[region] for region, found in codes.items() if found - expected[region]
    } == {}


def sweep_artifact(small: Bundle, patterns: Iterable[Pattern]) -> dict[str, set[str]]:
    """Open each changed artifact as check 1 does, from memory: nothing behind check 1 is reached."""

    def refusal(changed: bytes) -> Outcome:
        try:
            Artifact.open(changed)
        except CheckedError as err:
            return 1, err.check
        return None

    data = small.artifact_path.read_bytes()
    return sweep(data, container_regions(data), patterns, refusal)


def _refusal(step: Step, case: Case) -> Outcome:
    try:
        step.run(case)
    except CheckedError as err:
        return step.number, err.check
    return None


def sweep_receipt(small: Bundle, patterns: Iterable[Pattern]) -> dict[str, set[str]]:
    """Make checks 3 to 5 only: 1 and 2 do not look at the receipt, and nothing behind 5 is reached."""
    case = Case(small.artifact_path, None, small.trust, None, None, NOW)
    CHECKS[0].run(case)

    def refusal(changed: bytes) -> Outcome:
        case.receipt_bytes = changed
        return next(filter(None, (_refusal(step, case) for step in RECEIPT_STEPS)), None)

    return sweep(small.receipt, receipt_regions(small.receipt), patterns, refusal)


def test_no_flip_in_the_artifact_survives(small: Bundle) -> None:
    assert_within(sweep_artifact(small, EACH_BYTE), ARTIFACT)


def test_no_flip_in_the_receipt_survives(small: Bundle) -> None:
    assert_within(sweep_receipt(small, EACH_BYTE), RECEIPT)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_flip_of_any_bit_of_artifact_and_receipt_survives(small: Bundle) -> None:
    assert_within(sweep_artifact(small, EACH_BIT), ARTIFACT)
    assert_within(sweep_receipt(small, EACH_BIT), RECEIPT)


@pytest.fixture(scope="module")
def registry_log(small: Bundle) -> Log:
    """A log of 300 entries whose entry 200 is the bundle's."""
    made = Log([b'{"n":%d}' % n for n in range(300)])
    made.entries[200] = receipt_entry(small.cid, cid_of(small.receipt))
    return made


@pytest.mark.parametrize("max_age", [None, 30.0])
def test_no_flip_in_the_log_proof_survives(small: Bundle, registry_log: Log, max_age: float | None) -> None:
    proof = registry_log.proof(200)
    policy = Policy(require_log=True, log_max_age_days=max_age)
    trust = replace(small.trust, policy=policy, log=registry_log.note_key)
    report = verify_bundle(small.artifact_path, small.receipt, trust, proof=proof, now=NOW)
    assert report.ok
    codes = sweep(proof, proof_regions(proof), EACH_BIT, _reader(small, trust))
    assert_within(codes, PROOF)


def _reader(small: Bundle, trust: TrustStore) -> Callable[[bytes], Outcome]:
    """Return check 19 of an audit whose other checks passed: they do not look at the proof."""
    case = Case(small.artifact_path, small.receipt, trust, None, None, NOW)
    CHECKS[0].run(case)
    CHECKS[2].run(case)

    def refusal(changed: bytes) -> Outcome:
        case.proof = changed
        return _refusal(CHECKS[18], case)

    return refusal


# a dishonest publisher


def test_a_publisher_who_flips_nothing_is_believed(small: Bundle, tmp_path: Path) -> None:
    publisher = Publisher(small, tmp_path / "made.kolm")
    flip = next(member_flips(small.members, step=1, pattern=1))
    honest = replace(flip, content=small.members[flip.member])
    assert publisher.undone(honest)
    assert publisher.publish(honest) is None


def believed(publisher: Publisher, flips: Iterable[Flip]) -> set[tuple[str, str]]:
    """Publish flips and return member and place of those that no check refused; refusals have a code."""
    different = set()
    for flip in flips:
        if publisher.undone(flip):
            continue
        found = publisher.publish(flip)
        if found is None:
            before = publisher.bundle.members[flip.member]
            assert isinstance(before, bytes)
            different.add((flip.member, changed_place(before, flip)))
        else:
            inner = 1 if flip.member.startswith("processor/") else 2  # 2 asks the base's digests
            assert found[0] > inner, (flip.member, flip.place, found)
            assert found[1] not in (None, "E_INTERNAL"), (flip.member, flip.place)
    return different


def listed() -> list[dict[str, str]]:
    """Return what may differ: member, a pattern of the place, and why no check can know."""
    rows: list[dict[str, str]] = json.loads(DIFFERENT.read_bytes())
    assert all(set(row) == {"member", "place", "why"} and len(row["why"]) > 20 for row in rows)
    return rows


def lists(row: dict[str, str], member: str, place: str) -> bool:
    return row["member"] == member and re.fullmatch(row["place"], place) is not None


def unlisted(different: set[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(found for found in different if not any(lists(row, *found) for row in listed()))


@pytest.fixture
def publisher(small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """Whoever publishes thousands of artifacts that need not outlive the power."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    return Publisher(small, tmp_path / "made.kolm")


def test_a_dishonest_publisher_is_refused_or_makes_a_listed_artifact(publisher: Publisher) -> None:
    flips = member_flips(publisher.bundle.members, step=41, pattern=1)
    assert not unlisted(believed(publisher, flips))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_byte_that_a_dishonest_publisher_flips_is_refused_or_listed(publisher: Publisher) -> None:
    with ProcessPoolExecutor(
        WORKERS, get_context("fork"), initializer=_employ, initargs=(publisher,)
    ) as pool:
        different = set().union(*pool.map(_share, range(WORKERS)))
    assert not unlisted(different)
    idle = [row for row in listed() if not any(lists(row, *found) for found in different)]
    assert not idle


WORKERS = 2
_employed: list[Publisher] = []
"""The publisher of a worker; forked, since an open artifact cannot be sent."""


def _employ(publisher: Publisher) -> None:
    _employed.append(publisher)


def _share(worker: int) -> set[tuple[str, str]]:
    """Publish every flip that is this worker's."""
    publisher = replace(_employed[0], path=_employed[0].path.with_name(f"{worker}.kolm"))
    flips = member_flips(publisher.bundle.members, step=1, pattern=1)
    return believed(publisher, itertools.islice(flips, worker, None, WORKERS))

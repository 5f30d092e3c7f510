"""Check 18 with models that say what a test wants them to say."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kolm.answers import Answer
from kolm.artifact import Artifact
from kolm.cid import sha256_hex
from kolm.draws import replayed_rows
from kolm.errors import EvalError, KolmError, SpecError, TrainError
from kolm.pack import PIXELS, EvalPack, PackRow, load_pack, pack_from_members
from kolm.policy import Policy
from kolm.scorecard import read_rows
from kolm.trust import TrustStore
from kolm.verify import ROWS, AuditReport, Replay, Said, verify_bundle
from tests.bundles import Bundle, Members, make_bundle
from tests.tampering.lies import edit_json, read
from tests.tampering.test_lies_about_inputs import rechained

SCHEMA = Path(__file__).resolve().parents[2] / "specs/formats/schema/audit.schema.json"
NONCE = bytes(range(16))
COUNT = 12
Lies = Mapping[tuple[str, str], Mapping[str, Any]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), rows=COUNT)


@dataclass
class Recorded:
    """Models that say what an artifact stores of them, but for these changes."""

    lies: Lies = field(default_factory=dict)
    here: Mapping[str, Any] = field(default_factory=dict)
    stops_after: int | None = None
    fails_with: KolmError | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    def environment(self, artifact: Artifact) -> Mapping[str, Any]:
        return self.here

    def answers(
        self, artifact: Artifact, pack: EvalPack, rows: Sequence[PackRow], kinds: Sequence[str]
    ) -> Iterator[Said]:
        stored = {row.id: row.model_dump() for row in read_rows(artifact, pack=pack)}
        if self.fails_with is not None:
            raise self.fails_with
        for kind in kinds:
            for row in rows[: self.stops_after]:
                self.asked.append((row.id, kind))
                said, counts = stored[row.id]["outputs"][kind], stored[row.id]
                answer = Answer(
                    text=said["raw"],
                    tokens=said["tokens"],
                    finish=said["finish"],
                    **{name: counts[name] for name in ("prompt_tokens", "image_tokens", "patches")},
                )
                yield Said(row.id, kind, replace(answer, **self.lies.get((row.id, kind), {})))


def audit(
    bundle: Bundle, models: Recorded, *, trust: TrustStore | None = None, **options: Any
) -> AuditReport:
    asked = Replay(models, **({"nonce": NONCE, "rows": None} | options))
    return verify_bundle(bundle.artifact_path, bundle.receipt, trust or bundle.trust, replay=asked)


def every(kind: str, **change: Any) -> Lies:
    return {(f"row-{n:03}", kind): change for n in range(COUNT)}


def test_at_level_0_nobody_is_asked_and_the_report_says_so(bundle: Bundle) -> None:
    report = verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust)
    last = report.checks[17]
    assert (last.status, last.evidence) == ("skipped", "signed only")
    assert last.detail == "not asked for; replayable with --level 1"
    assert report.replayed is None
    assert report.ok


def test_models_that_say_it_again_pass(bundle: Bundle) -> None:
    report = audit(bundle, Recorded())
    last = report.checks[17]
    assert (last.status, last.evidence) == ("passed", "replayed")
    assert last.detail == (
        f"12 of 12 rows drawn with nonce {NONCE.hex()}: 60 of 60 outputs match, 0 in score alone"
    )


def test_the_drawn_rows_are_asked_for_every_output_and_no_others(bundle: Bundle) -> None:
    models = Recorded()
    report = audit(bundle, models, rows=3)
    ids = [f"row-{n:03}" for n in range(COUNT)]
    drawn = replayed_rows(bundle.cid, NONCE, ids, 3)
    assert report.replayed is not None
    assert report.replayed.rows == drawn
    kinds = ("base", "tuned", "perturbed", "grey", "shuffled")
    assert sorted(models.asked) == sorted((row, kind) for row in drawn for kind in kinds)


def test_another_nonce_draws_other_rows(bundle: Bundle) -> None:
    drawn = []
    for nonce in (NONCE, NONCE, b"another nonce"):
        report = audit(bundle, Recorded(), rows=5, nonce=nonce)
        assert report.replayed is not None
        drawn.append(report.replayed.rows)
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_default_finds_five_percent_of_false_rows_with_95_percent() -> None:
    assert 0.95**ROWS < 0.05 < 0.95 ** (ROWS - 1)


@settings(max_examples=8, deadline=None)
@given(nonce=st.binary(min_size=8, max_size=64), count=st.integers(1, COUNT))
def test_one_false_row_is_found_exactly_when_it_is_drawn(bundle: Bundle, nonce: bytes, count: int) -> None:
    models = Recorded({("row-007", "shuffled"): {"text": "seven"}})
    report = audit(bundle, models, nonce=nonce, rows=count)
    assert report.replayed is not None
    assert report.ok is ("row-007" not in report.replayed.rows)


@pytest.mark.parametrize("kind", ["base", "tuned", "perturbed", "grey", "shuffled"])
def test_an_output_that_the_model_does_not_say_fails(bundle: Bundle, kind: str) -> None:
    report = audit(bundle, Recorded({("row-003", kind): {"text": "something else"}}))
    assert report.failure is not None
    assert (report.failure.number, report.failure.code) == (18, "E_REPLAY")
    assert "1 of 60 outputs are not what the models say" in report.failure.detail
    assert f"row row-003, {kind}: stored " in report.failure.detail
    assert "the model says 'something else'" in report.failure.detail
    assert NONCE.hex() in report.failure.detail
    assert "another machine" not in report.failure.detail


@pytest.mark.parametrize("count", ["tokens", "prompt_tokens", "image_tokens", "patches"])
def test_a_cost_that_the_model_does_not_have_fails(bundle: Bundle, count: str) -> None:
    """C and V are counted from what the rows say beside the text."""
    report = audit(bundle, Recorded({("row-000", "tuned"): {count: 1000}}))
    assert report.failure is not None
    assert report.failure.code == "E_REPLAY"
    assert "1000" in report.failure.detail


def test_an_answer_that_was_cut_off_and_counted_as_whole_fails(bundle: Bundle) -> None:
    report = audit(bundle, Recorded(every("tuned", finish="length")))
    assert report.replayed is not None
    assert report.replayed.counts == {"match": 48, "score": 0, "mismatch": 12}
    assert not report.ok


def test_another_text_with_the_same_extraction_and_score_is_counted_apart(bundle: Bundle) -> None:
    rows = read_rows(bundle.facts.artifact, pack=pack_from_members(bundle.facts.artifact.read))
    spaced = {(row.id, "tuned"): {"text": f" {row.outputs['tuned'].raw}"} for row in rows[:2]}
    report = audit(bundle, Recorded(spaced))
    assert report.ok
    assert "58 of 60 outputs match, 2 in score alone" in report.checks[17].detail


def test_another_text_does_not_hide_another_cost(bundle: Bundle) -> None:
    """A base that is said to be wordy would flatter C."""
    rows = read_rows(bundle.facts.artifact, pack=pack_from_members(bundle.facts.artifact.read))
    wordy = {("row-000", "base"): {"text": f" {rows[0].outputs['base'].raw}", "tokens": 9}}
    report = audit(bundle, Recorded(wordy))
    assert report.replayed is not None
    assert report.replayed.counts == {"match": 59, "score": 0, "mismatch": 1}
    assert not report.ok


ELSEWHERE = {"device": "NVIDIA H200", "versions": {"torch": "2.12.0", "kolm": "0.1.0"}}


def tolerant(bundle: Bundle, share: float) -> TrustStore:
    return TrustStore.of(bundle.key.public, policy=Policy(replay_mismatch=share))


@pytest.mark.parametrize(("wrong", "holds"), [(6, True), (7, False)])
def test_on_another_machine_the_policy_allows_a_share(bundle: Bundle, wrong: int, holds: bool) -> None:
    lies = dict(list(every("grey", text="?").items())[:wrong])
    report = audit(bundle, Recorded(lies, here=ELSEWHERE), trust=tolerant(bundle, 0.1))
    assert report.ok is holds
    detail = report.checks[17].detail
    assert "device was cpu, here NVIDIA H200, torch was 2.13.0, here 2.12.0" in detail
    assert "kolm was" not in detail


@pytest.mark.parametrize("here", [{}, {"device": "cpu", "versions": {"torch": "2.13.0"}}])
def test_on_the_receipts_own_kind_of_machine_nothing_is_allowed(
    bundle: Bundle, here: Mapping[str, Any]
) -> None:
    lies = {("row-003", "grey"): {"text": "?"}}
    assert not audit(bundle, Recorded(lies, here=here), trust=tolerant(bundle, 0.2)).ok


@pytest.mark.parametrize(("differing", "holds"), [(0, True), (1, False)])
def test_answers_that_were_given_in_batches_may_differ_by_the_policys_share(
    tmp_path: Path, differing: int, holds: bool
) -> None:
    """Where a batch changed an answer, the receipt's were given alone, and nothing is allowed."""

    def locked(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock["generation"].update(batch=32))
        digest = sha256_hex(read(members, "spec.lock.json"))
        rechained(lambda commitment, _: commitment.update(lock=digest))(members)

    told = {"batch": 32, "compared": 2, "differing": differing}
    bundle = make_bundle(tmp_path, rows=2, edit=locked, evaluation=told)
    models = Recorded({("row-001", "grey"): {"text": "?"}})
    report = audit(bundle, models, trust=tolerant(bundle, 0.2))
    assert report.ok is holds
    assert ("batch was 32, here 1" in report.checks[17].detail) is holds


def test_without_a_policy_nothing_is_allowed_elsewhere_either(bundle: Bundle) -> None:
    report = audit(bundle, Recorded({("row-003", "grey"): {"text": "?"}}, here=ELSEWHERE))
    assert report.failure is not None
    assert "replay_mismatch" in report.failure.hint


def test_texts_are_quoted_and_cut_around_their_first_difference(bundle: Bundle) -> None:
    text = "a" * 500 + "\x1b[2J\n" + "b" * 500
    report = audit(bundle, Recorded({("row-003", "tuned"): {"text": text}}))
    assert report.failure is not None
    assert report.replayed is not None
    assert report.replayed.first is not None
    assert len(report.replayed.first.said) < 100
    assert "\x1b" not in report.failure.detail
    assert "\n" not in report.failure.detail


def test_nobody_is_asked_when_anything_else_failed(bundle: Bundle) -> None:
    models = Recorded()
    report = audit(bundle, models, trust=TrustStore.of())
    assert (report.checks[17].status, report.checks[17].evidence) == ("skipped", "absent")
    assert report.checks[17].detail == "not made, because check 5 did not pass"
    assert models.asked == []


@pytest.mark.parametrize("error", [SpecError("no"), TrainError("no"), EvalError("no")])
def test_what_this_machine_cannot_do_is_no_finding_about_the_artifact(
    bundle: Bundle, error: KolmError
) -> None:
    with pytest.raises(type(error)):
        audit(bundle, Recorded(fails_with=error))


def test_outputs_that_were_left_out_are_not_passed(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="55 outputs were not asked for again"):
        audit(bundle, Recorded(stops_after=1))


def test_a_text_only_model_has_no_controls_to_ask_for(tmp_path: Path) -> None:
    models = Recorded()
    assert audit(make_bundle(tmp_path, rows=3, text=True), models).ok
    assert {kind for _, kind in models.asked} == {"base", "tuned", "perturbed"}


def test_the_report_keeps_its_schema(bundle: Bundle, tmp_path: Path) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    lies: Lies = {("row-003", "tuned"): {"text": "\ud800"}}
    reports = [
        audit(bundle, Recorded()),
        audit(bundle, Recorded(lies, here=ELSEWHERE), trust=tolerant(bundle, 0.2)),
        audit(bundle, Recorded(lies)),
        audit(bundle, Recorded(), trust=TrustStore.of()),
        verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust),
    ]
    for report in reports:
        for store in (None, bundle.trust, replace(bundle.trust, dir=tmp_path)):
            jsonschema.validate(json.loads(json.dumps(report.to_json(trust=store))), schema)
    told = reports[2].to_json()["replay"]
    assert (told["nonce"], told["mismatches"], told["first_mismatch"]["row"]) == (NONCE.hex(), 1, "row-003")


@pytest.fixture(scope="module")
def withheld(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("withheld"), rows=3, withhold=True)


def pack_of(bundle: Bundle) -> EvalPack:
    return load_pack(bundle.artifact_path.parent / "pack/pack.yaml")


def test_withheld_pictures_are_asked_for(withheld: Bundle) -> None:
    with pytest.raises(SpecError, match="withholds the pictures") as caught:
        audit(withheld, Recorded())
    assert "--pack" in caught.value.hint


def test_the_pack_itself_brings_the_pictures(withheld: Bundle) -> None:
    report = audit(withheld, Recorded(), pack=pack_of(withheld))
    assert report.failure is None
    assert report.checks[17].evidence == "replayed"


def test_another_pack_is_refused(withheld: Bundle, bundle: Bundle) -> None:
    with pytest.raises(SpecError, match="not the one this artifact was scored on"):
        audit(withheld, Recorded(), pack=pack_of(bundle))


def test_pixels_that_a_withheld_picture_does_not_have_are_found(tmp_path: Path) -> None:
    def other_pixels(members: Members) -> None:
        edit_json(members, PIXELS, lambda pixels: pixels.update({min(pixels): "0" * 64}))

    lie = make_bundle(tmp_path, rows=2, withhold=True, edit=other_pixels)
    models = Recorded()
    assert verify_bundle(lie.artifact_path, lie.receipt, lie.trust).ok
    report = audit(lie, models, pack=pack_of(lie))
    assert report.failure is not None
    assert (report.failure.number, report.failure.code) == (18, "E_MEMBER_DIGEST")
    assert models.asked == []

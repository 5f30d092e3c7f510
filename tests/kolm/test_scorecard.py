"""The K-score document of an artifact: which timings, outputs, clusters and leaks it counts."""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL.PngImagePlugin import PngInfo

from kolm.artifact import Artifact
from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.draws import perturbation, timed_rows
from kolm.errors import VerificationError
from kolm.gallery import Gallery
from kolm.pack import EvalPack, PackRow, pack_from_members, pack_of
from kolm.scorecard import clusters, score_artifact
from tests.bundles import Bundle, Members, make_bundle

Timings = list[dict[str, Any]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("scored"), rows=104)


def scored(artifact: Artifact, timings: Timings, **options: Any) -> dict[str, Any]:
    return score_artifact(artifact, timings=timings, attempts=1, **{"near_duplicates": 0, **options})


def condition(k: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in k["gate"]["conditions"] if c["id"] == name)
    return found


def test_five_hundred_rows_are_scored_again_within_a_second(tmp_path: Path) -> None:
    facts = make_bundle(tmp_path, rows=500).facts
    spent = []
    for _ in range(3):
        started = time.process_time()
        scored(facts.artifact, facts.timings["rows"])
        spent.append(time.process_time() - started)
    assert min(spent) < 1.0


def one_more(timings: Timings) -> Timings:
    timed = {timing["id"] for timing in timings}
    untimed = next(f"row-{n:03}" for n in range(104) if f"row-{n:03}" not in timed)
    return [*timings, {"id": untimed, "base_ns": 1, "tuned_ns": 1}]


def one_less(timings: Timings) -> Timings:
    return timings[1:]


def one_twice(timings: Timings) -> Timings:
    return [timings[0], *timings]


def in_another_order(timings: Timings) -> Timings:
    return timings[::-1]


@pytest.mark.parametrize("edit", [one_more, one_less, one_twice, in_another_order])
def test_timings_of_other_rows_than_those_drawn_are_refused(
    bundle: Bundle, edit: Callable[[Timings], Timings]
) -> None:
    with pytest.raises(VerificationError, match="drawn to be timed") as raised:
        scored(bundle.facts.artifact, edit(bundle.facts.timings["rows"]))
    assert raised.value.check == "E_KSCORE"


@pytest.mark.parametrize("member", ["base_ns", "tuned_ns"])
def test_one_time_that_was_not_measured_is_a_measurement_missing(bundle: Bundle, member: str) -> None:
    timings = [dict(timing) for timing in bundle.facts.timings["rows"]]
    timings[3][member] = None
    k = scored(bundle.facts.artifact, timings)
    assert (k["axes"]["L"]["value"] is None) == (member == "tuned_ns")
    assert k["other"]["latency"]["tuned_over_base"] is None
    assert (k["gate"]["verdict"] == "FAIL") == (member == "tuned_ns")


def test_fifty_of_a_hundred_rows_are_timed_and_all_of_a_few(tmp_path: Path, bundle: Bundle) -> None:
    assert len(bundle.facts.timings["rows"]) == 50
    assert len(make_bundle(tmp_path, rows=4).facts.timings["rows"]) == 4


@pytest.mark.parametrize("text", [False, True], ids=["image", "text"])
def test_the_changed_question_is_always_asked(tmp_path: Path, text: bool) -> None:
    def forgotten(members: Members) -> None:
        rows = parse_canonical_lines(bytes(members["eval/rows.jsonl"]), what="rows")  # type: ignore[arg-type]
        del rows[2]["outputs"]["perturbed"]
        members["eval/rows.jsonl"] = canonical_lines(rows)

    facts = make_bundle(tmp_path, rows=4, text=text, edit=forgotten).facts
    with pytest.raises(VerificationError, match="row row-002 lacks an output"):
        scored(facts.artifact, facts.timings["rows"])


def test_consistency_counts_rows_under_the_change_that_was_drawn_for_them(bundle: Bundle) -> None:
    pack = pack_from_members(bundle.facts.artifact.read)
    drawn = [perturbation(pack.digest, row.id, has_image=True) for row in pack.rows]
    by = bundle.facts.k_score["accuracy"]["consistency"]["by"]
    assert {kind: share["n"] for kind, share in by.items()} == {kind: drawn.count(kind) for kind in by}


def grouped(artifact: Artifact, *, first: str, cluster: str = "group") -> tuple[EvalPack, Timings]:
    """Return the pack with four rows to a group, the first group by this name, and its timings."""
    pack = pack_from_members(artifact.read)
    names = [first if n < 4 else f"table-{n // 4}" for n in range(len(pack.rows))]
    rows = tuple(replace(row, group=name) for row, name in zip(pack.rows, names, strict=True))
    pack = replace(pack, rows=rows, cluster=cluster)
    timed = timed_rows(pack.digest, [row.id for row in pack.rows])
    return pack, [{"id": row_id, "base_ns": 1, "tuned_ns": 1} for row_id in timed]


def test_rows_of_one_group_are_drawn_together_where_the_pack_says_so(bundle: Bundle) -> None:
    artifact = bundle.facts.artifact
    for cluster, count in (("image", 104), ("group", 26)):
        pack, timings = grouped(artifact, first="table-0", cluster=cluster)
        assert scored(artifact, timings, pack=pack)["accuracy"]["clusters"] == count


def of_two_pictures(pack: EvalPack) -> EvalPack:
    """A hundred questions about two pictures."""
    shown = [pack.rows[n % 2].images for n in range(len(pack.rows))]
    rows = [replace(row, images=shown[n], prompt=f"{row.prompt} ({n})") for n, row in enumerate(pack.rows)]
    return replace(pack, rows=tuple(rows))


def of_two_pictures_encoded_again(pack: EvalPack) -> EvalPack:
    """The same, every row with another file of the picture."""
    gallery, rows = Gallery(root=Path()), []
    for n, row in enumerate(pack.rows):
        file, note = io.BytesIO(), PngInfo()
        note.add_text("copy", str(n))
        pack.image(pack.rows[n % 2].images[0]).save(file, "PNG", pnginfo=note)
        rows.append(replace(row, images=(gallery.add(file.getvalue()),), prompt=f"{row.prompt} ({n})"))
    assert len({row.images for row in rows}) == len(rows)
    return replace(pack, rows=tuple(rows), gallery=gallery)


@pytest.mark.parametrize("repeated", [of_two_pictures, of_two_pictures_encoded_again])
def test_a_hundred_rows_about_two_pictures_decide_nothing(
    bundle: Bundle, repeated: Callable[[EvalPack], EvalPack]
) -> None:
    artifact = bundle.facts.artifact
    pack = repeated(pack_from_members(artifact.read))
    drawn = timed_rows(pack.digest, [row.id for row in pack.rows])
    k = scored(artifact, [{"id": row_id, "base_ns": 1, "tuned_ns": 1} for row_id in drawn], pack=pack)
    assert k["accuracy"]["clusters"] == 2
    assert condition(k, "enough_rows")["ok"]
    assert condition(k, "enough_per_slice")["observed"] == 2
    assert k["gate"]["verdict"] == "INCONCLUSIVE"


def test_a_question_that_is_asked_again_is_no_further_observation() -> None:
    prompts = ("Two and two?", "Two and three?", "  TWO and two")
    rows = [PackRow(f"r{n}", (), prompt, ("4",), "all") for n, prompt in enumerate(prompts)]
    assert clusters(pack_of(name="sums", rows=rows, gallery=Gallery(root=Path()))) == [
        "row:r0",
        "row:r1",
        "row:r0",
    ]


def test_a_group_that_was_trained_on_is_a_leak(bundle: Bundle) -> None:
    pack, timings = grouped(bundle.facts.artifact, first="writer-1", cluster="image")
    k = scored(bundle.facts.artifact, timings, pack=pack)
    assert condition(k, "no_leak") == {"id": "no_leak", "required": 0, "observed": 4, "ok": False}
    assert k["gate"]["verdict"] == "FAIL"


@pytest.mark.parametrize("waiting", [1, None], ids=["one waits", "nobody looked"])
def test_near_duplicates_that_wait_fail_the_gate(bundle: Bundle, waiting: int | None) -> None:
    k = scored(bundle.facts.artifact, bundle.facts.timings["rows"], near_duplicates=waiting)
    assert condition(k, "no_near_duplicate")["observed"] == waiting
    assert k["gate"]["verdict"] == "FAIL"


def test_a_slice_of_few_rows_is_inconclusive(bundle: Bundle) -> None:
    pack = pack_from_members(bundle.facts.artifact.read)
    declared = replace(pack, slices={**pack.slices, "compare": pack.slices["read"]})
    k = scored(bundle.facts.artifact, bundle.facts.timings["rows"], pack=declared)
    assert condition(k, "enough_per_slice")["observed"] == 0
    assert k["gate"]["verdict"] == "INCONCLUSIVE"

"""What the outputs scored: intervals, gains with their tests, slices and consistency."""

from kolm import intervals
from kolm.kscore import compute_k
from tests.kolm.score_inputs import OUTPUTS, answers, make


def test_an_output_that_one_row_lacks_was_not_measured() -> None:
    inputs = make(answers(120))
    del inputs.rows[7]["outputs"]["grey"]
    k = compute_k(inputs)
    assert (k["accuracy"]["grey"], k["accuracy"]["image_gain"]) == (None, None)
    assert k["value"] is not None


def test_independent_right_or_wrong_answers_get_a_wilson_interval() -> None:
    scores = [{**dict.fromkeys(OUTPUTS, 0.0), "tuned": float(i < 45)} for i in range(50)]
    tuned = compute_k(make(scores))["accuracy"]["tuned"]
    assert tuned == {"value": 0.9, "interval": [0.786398, 0.956524], "n": 50}


def test_answers_about_one_image_count_for_less_than_independent_ones() -> None:
    scores = [{**dict.fromkeys(OUTPUTS, 0.0), "tuned": float(i // 10 != 0)} for i in range(50)]
    alone = compute_k(make(scores))["accuracy"]["tuned"]["interval"]
    together = compute_k(make(scores, clusters=[f"c{i // 10}" for i in range(50)]))["accuracy"]["tuned"][
        "interval"
    ]
    assert together[0] < alone[0]
    assert together[1] >= alone[1]


def test_the_gain_is_paired() -> None:
    scores = [{"base": float(i % 2), "tuned": 1.0, "grey": 0.0, "shuffled": 0.0} for i in range(40)]
    gain = compute_k(make(scores))["accuracy"]["gain"]
    assert gain["value"] == 0.5
    assert gain["mcnemar"] == {"fixed": 20, "broken": 0, "chi2": 20.0, "p": 0.000002}
    assert (gain["p"], gain["test"]) == (0.000002, "mcnemar")
    assert 0.3 < gain["interval"][0] < 0.5 < gain["interval"][1] < 0.7


def test_a_model_that_is_silent_on_grey_pictures_has_not_shown_that_it_looks() -> None:
    looks = {"base": 0.0, "tuned": 1.0, "perturbed": 1.0, "grey": 0.0, "shuffled": 1.0}
    image_gain = compute_k(make([looks] * 120))["accuracy"]["image_gain"]
    assert image_gain == {"value": 0.0, "interval": [0.0, 0.0]}
    guesses = [{**looks, "shuffled": float(i % 2), "grey": float(i % 4 == 0)} for i in range(120)]
    assert compute_k(make(guesses))["accuracy"]["image_gain"]["value"] == 0.5


def test_consistency_is_told_for_each_change_that_was_drawn() -> None:
    scores = [{**dict.fromkeys(OUTPUTS, 1.0), "perturbed": float(i % 4 != 0)} for i in range(8)]
    drawn = ["space", "jpeg"] * 4
    assert compute_k(make(scores, perturbations=drawn))["accuracy"]["consistency"] == {
        "value": 0.75,
        "n": 8,
        "by": {"jpeg": {"value": 1.0, "n": 4}, "space": {"value": 0.5, "n": 4}},
    }


def test_graded_scores_are_compared_by_sign_flips_over_clusters() -> None:
    scores = [{**dict.fromkeys(OUTPUTS, 0.5), "tuned": 0.5 + (i % 5) / 10} for i in range(40)]
    names = [f"c{i // 4:02}" for i in range(40)]
    inputs = make(scores, clusters=names, metric_ids=["anls@1"] * 40, seed=5)
    gain = compute_k(inputs)["accuracy"]["gain"]
    sums = [sum((i % 5) * 100_000 for i in range(40) if names[i] == name) for name in sorted(set(names))]
    assert gain["p"] == round(intervals.sign_flip(sums, seed=5), 6)
    assert (gain["test"], "mcnemar" in gain) == ("sign-flip", False)


def test_answers_in_clusters_are_not_told_apart_by_mcnemar() -> None:
    scores = [{**dict.fromkeys(OUTPUTS, 0.0), "tuned": float(i < 20)} for i in range(40)]
    gain = compute_k(make(scores, clusters=[f"c{i // 10}" for i in range(40)]))["accuracy"]["gain"]
    assert gain["mcnemar"]["p"] < 0.0001 < 0.05 < gain["p"]
    assert gain["test"] == "sign-flip"


def test_slices_tell_their_gain_with_p_values_adjusted_for_being_several() -> None:
    scores = [{**dict.fromkeys(OUTPUTS, 0.0), "tuned": float(i % 2 or i % 3 == 0)} for i in range(60)]
    slices = compute_k(make(scores, declared_slices=["read", "parity", "sum"]))["accuracy"]["slices"]
    assert slices["sum"]["gain"] is None
    told = {name: slices[name]["gain"] for name in ("read", "parity")}
    assert [set(gain) for gain in told.values()] == [{"value", "interval", "p", "p_holm"}] * 2
    assert told["parity"]["value"] == 1.0
    adjusted = intervals.holm([gain["p"] for gain in told.values()])
    assert [gain["p_holm"] for gain in told.values()] == [round(p, 6) for p in adjusted]
    assert told["read"]["interval"][0] > 0

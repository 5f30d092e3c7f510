"""JSON answers: published examples, repaired and strict reading, and answers built to break a metric."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import DataError
from kolm.metrics import get_metric
from kolm.metrics.reading import MAX_DEPTH
from kolm.metrics.trees import MAX_NODES

RECEIPT = {"menu": [{"nm": "Tea", "cnt": "2", "price": "3.00"}], "total": {"price": "3.00"}}
SCHEMA = json.dumps({"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}})


def judge(metric: str, answer: object, gold: object) -> tuple[str | None, float]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return get_metric(metric).judge(text, [gold if isinstance(gold, str) else json.dumps(gold)])


@pytest.mark.parametrize("metric", ["anls-star@1", "cord-ted@1", "field-f1@1"])
def test_the_right_answer_scores_1_and_nothing_scores_0(metric: str):
    assert judge(metric, RECEIPT, RECEIPT).score == 1.0
    assert judge(metric, {}, RECEIPT).score == 0.0
    assert judge(metric, "I cannot read it", RECEIPT) == (None, 0.0)


def test_tree_edit_accuracy_weighs_a_leaf_by_its_length():
    # TED(nothing, gold): 8 nodes (menu, <subtree>, nm, cnt, price, total, <subtree>, price) and 12 characters
    wrong = json.loads(json.dumps(RECEIPT).replace("Tea", "Ten"))
    assert judge("cord-ted@1", wrong, RECEIPT).score == pytest.approx(1 - 1 / 20)
    missing = {"menu": RECEIPT["menu"]}
    assert judge("cord-ted@1", missing, RECEIPT).score == pytest.approx(1 - 7 / 20)


def test_key_order_does_not_matter_and_list_order_does():
    a, b = {"x": "1", "y": "2"}, {"y": "2", "x": "1"}
    assert judge("cord-ted@1", a, b).score == 1.0
    assert judge("cord-ted@1", {"l": ["1", "2"]}, {"l": ["2", "1"]}).score < 1.0
    assert judge("field-f1@1", {"l": ["1", "2"]}, {"l": ["2", "1"]}).score == 1.0


def test_field_f1_counts_each_pair_once():
    gold = {"menu": [{"nm": "a", "price": "1"}, {"nm": "b", "price": "1"}]}
    found = {"menu": [{"nm": "a", "price": "1"}]}
    assert judge("field-f1@1", found, gold).score == pytest.approx(2 * 2 / 6, abs=1e-6)


def test_half_a_wrong_string_still_scores_a_half_under_anls_star():
    assert judge("anls-star@1", {"a": "ab"}, {"a": "ac"}).score == 0.5


@pytest.mark.parametrize(
    ("answer", "strict", "repaired"),
    [
        ('{"total": 3}', 1, 1),
        ('```json\n{"total": 3}\n```', 0, 1),
        ('Here you are: {"total": 3}.', 0, 1),
        ('{"total": "3"}', 0, 0),
        ('{"total": NaN}', 0, 0),
        ("{}", 0, 0),
        ("three", 0, 0),
    ],
)
def test_validity_strict_and_repaired(answer: str, strict: int, repaired: int):
    assert judge("json-schema@1", answer, SCHEMA).score == strict
    assert judge("json-schema-repaired@1", answer, SCHEMA).score == repaired


@pytest.mark.parametrize("gold", ["{", '{"type": "no such type"}', "3"])
def test_a_gold_that_is_no_schema_is_the_packs_mistake(gold: str):
    with pytest.raises(DataError):
        judge("json-schema@1", "{}", gold)


@pytest.mark.parametrize("answer", ["[" * 100_000, '{"a":' * 5_000, "[1," * 3 + "1" * 100_000])
def test_hostile_json_is_no_answer(answer: str):
    began = time.process_time()
    for metric in ("cord-ted@1", "field-f1@1", "anls-star@1", "json-schema@1"):
        assert judge(metric, answer, SCHEMA).score == 0.0
    assert time.process_time() - began < 2


def test_an_answer_too_large_to_compare_scores_0():
    flood = {"menu": [{"nm": str(n)} for n in range(MAX_NODES)]}
    assert judge("cord-ted@1", flood, RECEIPT).score == 0.0
    assert judge("anls-star@1", flood, RECEIPT).score == 0.0


values = st.recursive(
    st.text(max_size=4) | st.integers(-9, 9) | st.none() | st.booleans(),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(max_size=3), child, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("metric", ["cord-ted@1", "field-f1@1", "anls-star@1"])
@given(found=values, gold=st.dictionaries(st.text(max_size=3), values, max_size=3))
def test_every_tree_score_lies_between_0_and_1(metric: str, found: object, gold: object):
    assert 0.0 <= judge(metric, {"answer": found}, gold).score <= 1.0


@pytest.mark.parametrize("metric", ["cord-ted@1", "field-f1@1", "anls-star@1", "json-schema@1"])
def test_an_answer_with_more_levels_than_are_read_scores_0(metric: str):
    gold = '{"additionalProperties": {"$ref": "#"}}' if metric == "json-schema@1" else '{"a": {"a": "1"}}'
    for levels in (MAX_DEPTH, 400, 900):
        flood = '{"a":' * levels + '"1"' + "}" * levels
        assert get_metric(metric).judge(flood, [gold]) == (None, 0.0)
    readable = '{"a":' * (MAX_DEPTH - 1) + '"1"' + "}" * (MAX_DEPTH - 1)
    assert get_metric(metric).judge(readable, [gold]).extracted is not None


@pytest.mark.parametrize("metric", ["cord-ted@1", "field-f1@1", "anls-star@1", "json-schema@1"])
@pytest.mark.parametrize("gold", ["[" * 100_000, "[" * 400 + "]" * 400, "not JSON"])
def test_an_accepted_answer_that_is_no_tree_is_refused(metric: str, gold: str):
    with pytest.raises(DataError, match=r"the accepted answer (is not JSON|has more than 64 levels)"):
        get_metric(metric).check([gold])


def test_a_schema_never_leads_out_of_itself(tmp_path: Path):
    (tmp_path / "schema.json").write_text("{}")
    for reference in (f"file://{tmp_path}/schema.json", "http://127.0.0.1:1/x", "#/nowhere", "#", "urn:x"):
        with pytest.raises(DataError, match="refers to what is not in it, or to itself without end"):
            judge("json-schema@1", {"a": 1}, {"$ref": reference})
    inside = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    assert judge("json-schema@1", {"a": 1}, inside).score == 1.0
    assert judge("json-schema@1", {"a": "1"}, inside).score == 0.0


def test_the_pair_of_zhang_and_shasha_is_two_edits_apart():
    """Zhang and Shasha, SIAM J. Comput. 18(6), 1989, figure 4, by the library that `cord-ted@1` uses."""
    from zss import Node, simple_distance

    def tree(label: str, *children: Node) -> Node:
        return Node(label, list(children))

    first = tree("f", tree("d", tree("a"), tree("c", tree("b"))), tree("e"))
    second = tree("f", tree("c", tree("d", tree("a"), tree("b"))), tree("e"))
    assert simple_distance(first, second) == 2

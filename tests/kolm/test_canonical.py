import json
import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from kolm.canonical import (
    MAX_LINES,
    MAX_VALUES,
    canonical_json,
    canonical_lines,
    parse_canonical,
    parse_canonical_lines,
    round6,
)
from kolm.errors import ArtifactError

LARGEST = 2**53 - 1
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not LARGEST < abs(x) < 1e21)
TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def refusal_of(data: bytes, **limits: int) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        parse_canonical(data, what="receipt", **limits)
    assert "receipt" in str(caught.value)
    return caught.value


@given(VALUES)
def test_canonical_json_is_a_fixed_point_of_parsing(value):
    data = canonical_json(value)
    again = parse_canonical(data, what="value")
    assert canonical_json(again) == data
    assert again == value


@given(
    st.dictionaries(TEXT, st.integers(-5, 5)).flatmap(
        lambda d: st.tuples(st.just(d), st.permutations(list(d)))
    )
)
def test_the_order_of_keys_does_not_matter(case):
    value, order = case
    assert canonical_json({key: value[key] for key in order}) == canonical_json(value)


@given(VALUES)
def test_only_one_spelling_is_accepted(value):
    data = canonical_json(value)
    spaced = json.dumps(value, indent=1, ensure_ascii=True).encode()
    if spaced != data:
        assert refusal_of(spaced).check == "E_JSON_CANONICAL"


@given(st.binary(max_size=40))
def test_what_is_accepted_is_written_back_the_same(data):
    try:
        value = parse_canonical(data, what="bytes")
    except ArtifactError:
        return
    assert canonical_json(value) == data


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_rfc_8785_vectors(vectors, name):
    value = json.loads((vectors / "jcs" / "input" / f"{name}.json").read_bytes())
    expected = (vectors / "jcs" / "output" / f"{name}.json").read_bytes()
    assert bytes.fromhex((vectors / "jcs" / "outhex" / f"{name}.txt").read_text()) == expected
    assert canonical_json(value) == expected
    assert canonical_json(parse_canonical(expected, what=name)) == expected


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        2.0**53,
        1e20,
        "\ud800",
        {1: 2},
        b"bytes",
        {"a": object()},
    ],
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(ArtifactError) as caught:
        canonical_json({"inside": [value]})
    assert caught.value.check == "E_JSON_CANONICAL"


def test_a_value_that_contains_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(ArtifactError, match="nested too deeply"):
        canonical_json(value)


NOT_CANONICAL = [
    ("a name twice", b'{"a":1,"a":1}'),
    ("NaN", b'{"a":NaN}'),
    ("infinity", b"[-Infinity]"),
    ("a number beyond the doubles", b"[1e400]"),
    ("2^53", b"[9007199254740992]"),
    ("a number of 5000 digits", b"[" + b"1" * 5000 + b"]"),
    ("a byte order mark", b"\xef\xbb\xbf{}"),
    ("no UTF-8", b'["\xff"]'),
    ("a lone surrogate", b'["\\ud800"]'),
    ("white space", b'{"a": 1}'),
    ("a final newline", b"{}\n"),
    ("unsorted names", b'{"b":1,"a":2}'),
    ("a number spelled otherwise", b"[1.0]"),
    ("negative zero", b"[-0]"),
    ("an escape too many", b'["\\u0041"]'),
    ("two values", b"{}{}"),
    ("nothing", b""),
    ("deep beyond the interpreter", b"[" * 100_000 + b"]" * 100_000),
]


@pytest.mark.parametrize(("defect", "data"), NOT_CANONICAL)
def test_bytes_that_are_not_canonical_are_refused(defect, data):
    assert refusal_of(data).check == "E_JSON_CANONICAL", defect


def test_depth_and_size_are_limited():
    assert parse_canonical(b"[[[1]]]", what="x", max_depth=3) == [[[1]]]
    assert "nested more than 2 deep" in str(refusal_of(b"[[[1]]]", max_depth=2))
    assert refusal_of(b"[[[1]]]", max_bytes=6).check == "E_LIMIT"


def test_the_number_of_values_is_limited_before_any_is_read():
    assert parse_canonical(b'[1,2,{"a":[]}]', what="x", max_values=5) == [1, 2, {"a": []}]
    assert refusal_of(b'[1,2,{"a":[]}]', max_values=4).check == "E_LIMIT"
    assert refusal_of(b"[" + b"0," * MAX_VALUES + b"0]").check == "E_LIMIT"
    assert "is empty" in refusal_of(b"").message


def test_names_are_sorted_by_utf_16_code_units():
    assert canonical_json({"\ue000": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ue000":1}'.encode()


@given(st.lists(VALUES, max_size=5))
def test_lines_are_read_back(rows):
    data = canonical_lines(rows)
    assert data.count(b"\n") == len(rows)
    assert parse_canonical_lines(data, what="rows") == rows


@pytest.mark.parametrize(
    ("defect", "data", "place"),
    [
        ("no final newline", b"{}", "last line"),
        ("a blank line", b"{}\n\n{}\n", "line 2"),
        ("carriage returns", b"{}\r\n", "line 1"),
        ("a loose line", b'{}\n{"a": 1}\n', "line 2"),
    ],
)
def test_lines_that_are_not_canonical_are_refused_by_number(defect, data, place):
    with pytest.raises(ArtifactError, match=place) as caught:
        parse_canonical_lines(data, what="rows")
    assert caught.value.check == "E_JSON_CANONICAL", defect


def test_lines_are_limited_in_size():
    with pytest.raises(ArtifactError) as caught:
        parse_canonical_lines(b"{}\n", what="rows", max_bytes=2)
    assert caught.value.check == "E_LIMIT"
    assert len(parse_canonical_lines(b"0\n" * 1000, what="rows")) == 1000
    with pytest.raises(ArtifactError, match="more than 500000 lines") as caught:
        parse_canonical_lines(b"0\n" * (MAX_LINES + 1), what="rows")
    assert caught.value.check == "E_LIMIT"


@given(st.floats(-1e9, 1e9))
def test_rounded_scores_stay_close_and_are_their_own_rounding(x):
    assert abs(round6(x) - x) <= 5e-7 + 1e-6 * abs(x)
    assert round6(round6(x)) == round6(x)
    assert math.copysign(1, round6(-1e-9)) == 1


def test_the_dependency_alone_would_write_what_cannot_be_read_back():
    data = rfc8785.dumps(1e20)
    assert refusal_of(data).check == "E_JSON_CANONICAL"

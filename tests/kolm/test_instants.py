from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.instants import read_instant, spell_instant


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_spelled_is_read(instant: datetime) -> None:
    text = spell_instant(instant)
    assert read_instant(text) == instant.replace(microsecond=0)
    assert spell_instant(read_instant(text)) == text


def test_a_time_is_spelled_in_utc() -> None:
    there = datetime(2026, 1, 31, 1, 0, 5, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert spell_instant(there) == "2026-01-30T23:00:05Z"


@pytest.mark.parametrize(
    "text",
    [
        "2027-1-2T3:4:5Z",
        "2027-01-02T03:04:05",
        "2027-01-02T03:04:05z",
        "2027-01-02t03:04:05Z",
        "2027-01-02 03:04:05Z",
        "2027-01-02T03:04:05+00:00",
        "2027-01-02T03:04:05.0Z",
        "2027-01-02T03:04Z",
        "2027-01-02",
        " 2027-01-02T03:04:05Z",
        "2027-01-02T03:04:05Z\n",
        "\u0662\u0660\u0662\u0667-01-02T03:04:05Z",
        "2027-02-29T00:00:00Z",
        "2027-13-01T00:00:00Z",
        "2027-01-01T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "",
    ],
)
def test_a_time_that_is_spelled_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_instant(text)

"""Real tables that ship in ordinary packages, as small groups of labelled numbers to draw charts of.

vega-datasets holds them with their sources, in files of its own; pandas, which it depends on, reads them.
Nothing is fetched. A table belongs whole to training, to validation or to the eval pack.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

from apps.capture.demo import Side
from kolm.errors import SpecError


@dataclass(frozen=True)
class Group:
    """Some numbers of one table that make one chart."""

    table: str
    title: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class _Source:
    """Where a table lies, and which columns are compared over which others."""

    name: str
    over: str
    """Column whose values are the labels."""
    numbers: tuple[str, ...]
    by: str | None = None
    """Column that splits the table first: groups for each of its values."""


_SOURCES = (
    _Source("cars", "Origin", ("Horsepower", "Weight_in_lbs", "Displacement"), by="Year"),
    _Source("cars", "Cylinders", ("Miles_per_Gallon", "Horsepower", "Displacement"), by="Origin"),
    _Source("cars", "Year", ("Miles_per_Gallon", "Horsepower", "Displacement"), by="Cylinders"),
    _Source("seattle-weather", "weather", ("precipitation", "temp_max", "temp_min", "wind"), by="month"),
    _Source("seattle-weather", "month", ("precipitation", "temp_max", "temp_min", "wind")),
    _Source("stocks", "symbol", ("price",), by="month"),
    _Source("stocks", "month", ("price",), by="symbol"),
    _Source("airports", "state", ("count",)),
    _Source("wheat", "year", ("wheat", "wages")),
    _Source("iris", "species", ("sepalLength", "sepalWidth", "petalLength", "petalWidth")),
    _Source("driving", "year", ("miles", "gas")),
    _Source("burtin", "Bacteria", ("Penicillin", "Streptomycin", "Neomycin")),
    _Source("barley", "site", ("yield",), by="variety"),
    _Source("barley", "variety", ("yield",), by="site"),
    _Source("crimea", "month", ("wounds", "other", "disease")),
    _Source("iowa-electricity", "source", ("net_generation",), by="year"),
    _Source("iowa-electricity", "year", ("net_generation",), by="source"),
    _Source("us-employment", "sector", ("thousands",), by="month"),
)

TABLES: dict[Side, tuple[str, ...]] = {
    "train": ("cars", "seattle-weather", "stocks", "airports", "wheat", "iris"),
    "validation": ("driving", "burtin"),
    "eval": ("barley", "crimea", "iowa-electricity", "us-employment"),
}
"""Which tables each side is drawn from: no number that is asked for in the pack is ever trained on."""

_SECTORS = [
    "construction", "manufacturing", "government", "information", "financial_activities",
    "education_and_health_services", "leisure_and_hospitality",
]  # fmt: skip


@cache
def groups(table: str, size: int) -> tuple[Group, ...]:
    """Return every group of `size` labels of a table, in a fixed order.

    Raises SpecError without vega-datasets.
    """
    return tuple(group for source in _SOURCES if source.name == table for group in _of(source, size))


def rounded(values: Sequence[float], *, most: int) -> tuple[tuple[int, ...], float] | None:
    """Round numbers to whole multiples of a round unit, the largest at most `most`: multiples and unit.

    The unit is 1, 2 or 5 times a power of ten. None where a multiple is 0 or two are equal: such numbers
    cannot be told apart in a small picture.
    """
    peak = max(values)
    if peak <= 0:
        return None
    unit = next(u for u in _units(peak / most) if peak / u < most + 0.5)
    whole = tuple(round(value / unit) for value in values)
    return (whole, unit) if min(whole) > 0 and len(set(whole)) == len(whole) else None


def tenths(values: Sequence[float]) -> tuple[int, ...] | None:
    """Round shares of the sum to tenths; None where they are not ten, one is 0 or two are equal."""
    total = sum(values)
    if min(values) <= 0:
        return None
    parts = tuple(round(10 * value / total) for value in values)
    return parts if sum(parts) == 10 and min(parts) > 0 and len(set(parts)) == len(parts) else None


def _units(least: float) -> Iterator[float]:
    """Yield 1, 2 and 5 times powers of ten, ascending, from a little below `least`."""
    power = math.floor(math.log10(least)) - 1
    while True:
        yield from (factor * 10.0**power for factor in (1, 2, 5))
        power += 1


def _of(source: _Source, size: int) -> Iterator[Group]:
    frame = _frame(source.name)
    parts = frame.groupby(source.by) if source.by else [("", frame)]
    for part, rows in parts:
        for column in source.numbers:
            means = rows.groupby(source.over)[column].mean().dropna()
            points = [(str(label)[:12], float(value)) for label, value in means.items()]
            for chosen in _choices(points, size):
                labels, values = zip(*chosen, strict=True)
                if len(set(labels)) < size:  # cut short, two are one
                    continue
                yield Group(
                    source.name, f"{column} {str(part)[:12]}".replace("_", " ").strip(), labels, values
                )


def _choices(points: Sequence[tuple[str, float]], size: int) -> list[tuple[tuple[str, float], ...]]:
    """Every choice from up to 16 labels; from more, neighbours at every distance."""
    if len(points) <= 16:
        return list(combinations(points, size))
    spans = range(1, (len(points) - 1) // (size - 1) + 1)
    return [
        tuple(points[start : start + span * size : span])
        for span in spans
        for start in range(len(points) - span * (size - 1))
    ]


@cache
def _frame(name: str) -> Any:
    """Return a table as a pandas frame, its dates as months."""
    try:
        from vega_datasets import local_data
    except ImportError as err:
        raise SpecError(
            "the charts demo needs vega-datasets, which holds the tables", hint="pip install 'kolm[demo]'"
        ) from err
    frame = getattr(local_data, name.replace("-", "_"))()
    if name == "us-employment":  # one row for each sector, as in the other tables
        frame = frame.melt("month", _SECTORS, var_name="sector", value_name="thousands")
    if name == "airports":
        frame = frame.groupby("state", as_index=False).size().rename(columns={"size": "count"})
    dated = [column for column in frame.columns if str(frame[column].dtype).startswith("datetime")]
    for column in dated:
        frame[column] = frame[column].dt.strftime("%Y" if column in ("Year", "year") else "%Y-%m")
    if dated and dated[0] == "date":
        frame["month"] = frame["date"]
    return frame

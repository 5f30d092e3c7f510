"""Real tables that ship in ordinary packages, as small groups of labelled numbers to draw charts of.

vega-datasets (sources in its own documentation) and scikit-learn's wine and iris tables; nothing is fetched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

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
    """Column that splits the table first: one set of groups for each of its values."""


_SOURCES = (
    _Source("cars", "Origin", ("Miles_per_Gallon", "Horsepower", "Weight_in_lbs"), by="Year"),
    _Source("cars", "Cylinders", ("Miles_per_Gallon", "Horsepower", "Acceleration"), by="Origin"),
    _Source("seattle-weather", "weather", ("precipitation", "temp_max", "wind"), by="month"),
    _Source("stocks", "symbol", ("price",), by="month"),
    _Source("driving", "year", ("miles", "gas")),
    _Source("wheat", "year", ("wheat", "wages")),
    _Source("burtin", "Bacteria", ("Penicillin", "Streptomycin", "Neomycin")),
    _Source("iris", "species", ("sepalLength", "sepalWidth", "petalLength", "petalWidth")),
    _Source("barley", "site", ("yield",), by="variety"),
    _Source("crimea", "date", ("wounds", "other", "disease")),
    _Source("iowa-electricity", "source", ("net_generation",), by="year"),
    _Source("us-employment", "sector", ("thousands",), by="month"),
)

EVAL_TABLES = ("barley", "crimea", "iowa-electricity", "us-employment")
"""Tables that only eval charts are drawn from: no number of them is ever trained on."""


_SECTORS = ["construction", "manufacturing", "government", "information", "education_and_health_services"]

LARGEST = 160
"""Most groups of one table: none may outweigh the others."""


def groups(*, sizes: Sequence[int] = (3, 4)) -> Iterator[Group]:
    """Yield every group of `sizes` labels whose numbers can be told apart, table by table.

    Raises SpecError when vega-datasets is not installed.
    """
    for name in dict.fromkeys(source.name for source in _SOURCES):
        found = [group for source in _SOURCES if source.name == name for group in _of(source, sizes)]
        stride = max(1, -(-len(found) // LARGEST))
        yield from found[::stride]


def _of(source: _Source, sizes: Sequence[int]) -> Iterator[Group]:
    frame = _frame(source.name)
    parts = frame.groupby(source.by) if source.by else [("", frame)]
    for part, rows in parts:
        for column in source.numbers:
            means = rows.groupby(source.over)[column].mean().dropna()
            points = [(str(label)[:10], float(value)) for label, value in means.items()]
            yield from _distinct(source, f"{column} {str(part)[:10]}".strip(), points, sizes)


def _distinct(
    source: _Source, title: str, points: Sequence[tuple[str, float]], sizes: Sequence[int]
) -> Iterator[Group]:
    """Groups of neighbours and of far-apart labels in which no two numbers are nearly the same."""
    for size in sizes:
        chosen = list(combinations(points, size)) if len(points) <= 5 else _windows(points, size)
        for group in chosen:
            values = sorted(value for _, value in group)
            spread = values[-1] - min(0.0, values[0])
            gaps = [b - a for a, b in pairwise(values)]
            if values[0] >= 0 and spread > 0 and min(gaps) >= 0.08 * spread:
                labels, numbers = zip(*group, strict=True)
                yield Group(source.name, title.replace("_", " "), labels, numbers)


def _windows(points: Sequence[tuple[str, float]], size: int) -> list[Sequence[tuple[str, float]]]:
    """Every `size` neighbours, and every `size` labels that lie a third of the table apart."""
    stride = max(1, len(points) // size)
    near = [points[i : i + size] for i in range(len(points) - size + 1)]
    far = [points[i::stride][:size] for i in range(stride)]
    return [group for group in near + far if len(group) == size]


def _frame(name: str) -> Any:
    try:
        from vega_datasets import local_data
    except ImportError as err:
        raise SpecError("the charts demo needs vega-datasets", hint="pip install 'kolm[demo]'") from err
    frame = getattr(local_data, name.replace("-", "_"))()
    if name == "us-employment":  # one row for each sector, as in the other tables
        frame = frame.melt("month", _SECTORS, var_name="sector", value_name="thousands")
    dated = [column for column in frame.columns if str(frame[column].dtype).startswith("datetime")]
    if dated:
        frame["month"] = frame[dated[0]].dt.strftime("%Y-%m")
        for column in dated:
            frame[column] = frame[column].dt.strftime("%Y-%m")
    return frame

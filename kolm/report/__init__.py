"""The report: one HTML file for people, drawn from an artifact and its receipt.

A report is a view. It shows what the documents say and how each claim can be checked; it decides
nothing, and it never stands in for `kolm verify`. Everything a model said is untrusted text.
"""

from functools import cache
from typing import Any

from kolm.artifact import Artifact
from kolm.receipt import Receipt
from kolm.report.facts import facts_of

__all__ = ["report_html"]


def report_html(artifact: Artifact, receipt: Receipt) -> str:
    """Return the whole report as one HTML page without outside links or scripts of others.

    Raises ArtifactError, VerificationError when a document cannot be read.
    """
    return str(_environment().get_template("page.html.j2").render(facts_of(artifact, receipt)))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("kolm.report"),
        autoescape=select_autoescape(["html.j2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": count, "size": size}
    return environment


def number(value: float | None, digits: int = 3) -> str:
    """Write a measured number, or say that it is missing."""
    return "missing" if value is None else f"{value:.{digits}f}"


def count(value: int) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u2009")


def size(value: int) -> str:
    """Write a size in bytes with a decimal unit."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError  # the loop ends at GB

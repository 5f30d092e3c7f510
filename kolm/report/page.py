"""The report as one HTML page: no script at all, no link out of it, one style named by its digest."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from kolm.report import figures, numbers
from kolm.report.answers import chosen_rows
from kolm.report.facts import LIMITS, Facts
from kolm.report.scores import MANY_ATTEMPTS, TESTS, axes_of, gate_line, judged
from kolm.report.tree import module_tree
from kolm.trainlog import read_log

KINDS = {"broken": "broken", "fixed": "fixed", "wrong": "wrong twice", "right": "right twice"}
"""What became of a row, in the words of the filter."""


def html_page(facts: Facts) -> str:
    """Lay out the page. Raises ArtifactError, DataError when a member cannot be read."""
    answers = chosen_rows(facts.rows, facts.pack, metrics=facts.artifact.lock.metrics)
    shown = list(dict.fromkeys(answer["slice"] for answer in answers))
    log = read_log(facts.artifact.read("train/log.jsonl"))
    return laid_out(
        "page.html.j2",
        slices=len(shown),
        kinds=KINDS,
        f=facts,
        answers=answers,
        shown_slices=shown,
        log=log,
        modules=module_tree(facts.artifact.modules),
        draw=figures,
        tests=TESTS,
        conditions=judged(facts.k),
        axes=axes_of(facts.k),
        gate=gate_line(facts.k),
        limits=LIMITS,
        many_attempts=MANY_ATTEMPTS,
    )


def laid_out(template: str, *, slices: int = 0, kinds: Mapping[str, str] | None = None, **shown: Any) -> str:
    """Fill a page's template: with its style, and with the digest of it.

    The page's Content-Security-Policy names that digest, so that a browser applies this style and loads
    nothing else (W3C CSP Level 3, 2.3.1). It has rules for the `slices` and `kinds` to filter by.
    """
    filters: Mapping[str, str] = kinds or {}
    style = _environment().get_template("style.css.j2").render(slices=slices, kinds=filters)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = _environment().get_template(template)
    return str(page.render(style=style, style_digest=digest, kinds=filters, **shown))


@cache
def _environment() -> Any:
    """Return where the pages' templates are: everything that is put into one is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("kolm.report"),
        autoescape=select_autoescape(["html.j2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = ("number", "signed", "span", "probability", "count", "size", "duration")
    environment.filters |= {name: getattr(numbers, name) for name in written}
    return environment

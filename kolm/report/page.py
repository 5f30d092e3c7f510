"""The report as one HTML page: no script at all, no link out of it, one style named by its digest."""

import base64
import hashlib
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
    style = environment().get_template("style.css.j2").render(slices=len(shown), kinds=KINDS)
    return str(
        environment()
        .get_template("page.html.j2")
        .render(
            f=facts,
            style=style,
            style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            answers=answers,
            shown_slices=shown,
            log=log,
            modules=module_tree(facts.artifact.modules),
            draw=figures,
            kinds=KINDS,
            tests=TESTS,
            conditions=judged(facts.k),
            axes=axes_of(facts.k),
            gate=gate_line(facts.k),
            limits=LIMITS,
            many_attempts=MANY_ATTEMPTS,
        )
    )


@cache
def environment() -> Any:
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

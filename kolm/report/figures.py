"""Figures of a report, as SVG made by hand: numbers in, markup out, and no text in it.

Strips measure along their width in per cent, so they fit a phone and a sheet of paper without becoming
smaller; words stand beside them in HTML.
"""

from collections.abc import Iterable, Sequence

from kolm.report.scores import SliceMeans
from kolm.trainlog import TrainLog

POINTS = 800
"""Most points of a curve; a longer one is thinned out."""

BARS = 24
"""Most bars of a histogram."""


def bar(
    value: float | None, *, interval: Sequence[float] | None = None, gate: float | None = None, css: str = ""
) -> str:
    """Draw a number from 0 to 1 as a bar, with its interval and the line it has to reach."""
    parts = ['<rect class="track" x="0" y="6" width="100%" height="10" rx="2"/>']
    if value is not None:
        parts.append(f'<rect class="bar {css}" x="0" y="6" width="{_share(value)}" height="10" rx="2"/>')
    if interval is not None:
        parts.append(_whiskers(interval, y=11))
    if gate is not None:
        parts.append(_line("gate", (gate, gate), (0, 22)))
    return _strip(parts)


def pair(score: SliceMeans) -> str:
    """Draw the accuracy of base and tuned model on a slice on one line, and the interval of the tuned one."""
    parts = ['<rect class="track" x="0" y="10.5" width="100%" height="1"/>']
    if score.interval is not None:
        parts.append(_whiskers(score.interval, y=11, css="tuned"))
    for css, value, radius in (("base", score.base, 5), ("tuned", score.tuned, 4)):
        if value is not None:
            parts.append(f'<circle class="dot {css}" cx="{_share(value)}" cy="11" r="{radius}"/>')
    return _strip(parts)


def histogram(counts: Sequence[int]) -> str:
    """Draw how often whole numbers occur, in equal bins from the least to the largest."""
    least, most = min(counts), max(counts)
    bars = min(BARS, most - least + 1)
    bins = [0] * bars
    for number in counts:
        bins[(number - least) * bars // (most - least + 1)] += 1
    width, tallest = 100 / bars, max(bins)
    return _strip(
        [
            f'<rect class="bar" x="{place * width + 0.1 * width:.2f}%" y="{48 - 48 * filled / tallest:.1f}" '
            f'width="{0.8 * width:.2f}%" height="{48 * filled / tallest:.1f}"/>'
            for place, filled in enumerate(bins)
            if filled
        ],
        css="histogram",
    )


def losses(log: TrainLog, *, kept: int | None) -> tuple[str, float]:
    """Draw training and validation loss over steps, and the step that was kept; return the largest, too."""
    trained = [(step.step, step.loss) for step in log.steps]
    held = [(row.step, row.validation_loss) for row in log.validations]
    return _panel({"loss": trained, "held": held}, last=len(log.steps), mark=kept)


def norms(log: TrainLog) -> tuple[str, float]:
    """Draw the norm of the gradient over steps, and return the largest."""
    return _panel({"norm": [(step.step, step.grad_norm) for step in log.steps]}, last=len(log.steps))


def rates(log: TrainLog) -> tuple[str, float]:
    """Draw the learning rate over steps, and return the largest."""
    return _panel({"rate": [(step.step, step.lr) for step in log.steps]}, last=len(log.steps))


def _panel(
    series: dict[str, list[tuple[int, float]]], *, last: int, mark: int | None = None
) -> tuple[str, float]:
    """One pair of axes from 0 to the largest value, 1000 wide and 100 high, stretched where it is shown."""
    most = max((value for line in series.values() for _, value in line), default=0.0)
    across = max(1, last - 1)

    def place(point: tuple[int, float]) -> str:
        step, value = point
        return f"{1000 * (step - 1) / across:.1f} {100 - 100 * max(0.0, value) / (most or 1):.2f}"

    parts = ['<path class="axis" d="M0 0V100H1000"/>']
    if mark:
        x = 1000 * (mark - 1) / across
        parts.append(f'<path class="kept" d="M{x:.1f} 0V100"/>')
    for css, line in series.items():
        points = [place(point) for point in _thinned(line)]
        if len(points) > 1:
            parts.append(f'<path class="line {css}" d="M{"L".join(points)}"/>')
        if css == "held" or len(points) == 1:  # a line of no length with round ends is a dot
            parts += [f'<path class="mark {css}" d="M{point}h0"/>' for point in points]
    head = '<svg class="panel" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
    return f"{head}{''.join(parts)}</svg>", most


def _thinned(line: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Keep every n-th point and the last one."""
    stride = -(-len(line) // POINTS) or 1
    kept = line[::stride]
    return kept if not line or kept[-1] == line[-1] else [*kept, line[-1]]


def _whiskers(interval: Sequence[float], *, y: float, css: str = "") -> str:
    low, high = interval
    ends = "".join(_line(f"span {css}", (bound, bound), (y - 3, y + 3)) for bound in (low, high))
    return _line(f"span {css}", (low, high), (y, y)) + ends


def _line(css: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    return f'<line class="{css}" x1="{_share(x[0])}" x2="{_share(x[1])}" y1="{y[0]}" y2="{y[1]}"/>'


def _share(value: float) -> str:
    """Write a number from 0 to 1 in per cent; what lies outside stays at the edge."""
    return f"{100 * min(1.0, max(0.0, value)):.2f}%"


def _strip(parts: Iterable[str], *, css: str = "strip") -> str:
    return f'<svg class="{css}" aria-hidden="true">{"".join(parts)}</svg>'

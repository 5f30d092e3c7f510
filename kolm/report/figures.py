"""Figures of a report, as SVG made by hand: numbers in, markup out, every text escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kolm.axes import WEIGHTS
from kolm.trainlog import TrainLog

WIDTH = 640


def axes(k: Mapping[str, Any]) -> str:
    """Draw K with its interval and gate line, and each axis, as bars from 0 to 1."""
    gate = next((c["required"] for c in k["gate"]["conditions"] if c["id"] == "k_lower"), None)
    rows: list[tuple[str, float | None, Sequence[float] | None, float | None]] = [
        ("K", k["value"], k["interval"], gate)
    ]
    rows += [(name, k["axes"][name]["value"], None, None) for name in WEIGHTS]
    parts = []
    for place, (label, value, interval, line) in enumerate(rows):
        y = 24 + place * 30
        parts.append(_text(16, y + 12, label, anchor="middle", css="label"))
        parts.append(f'<rect class="track" x="34" y="{y}" width="500" height="16" rx="3"/>')
        if value is not None:
            css = "bar k" if label == "K" else "bar"
            parts.append(f'<rect class="{css}" x="34" y="{y}" width="{500 * value:.1f}" height="16" rx="3"/>')
        if interval:
            low, high = (34 + 500 * bound for bound in interval)
            parts.append(f'<path class="span" d="M{low:.1f} {y + 8}H{high:.1f}M{low:.1f} {y + 3}v10')
            parts[-1] += f'M{high:.1f} {y + 3}v10"/>'
        if line is not None:
            x = 34 + 500 * float(line)
            parts.append(f'<path class="gate" d="M{x:.1f} {y - 5}v26"/>')
            parts.append(_text(x, y - 7, f"gate {line}", anchor="middle", css="small"))
        parts.append(_text(544, y + 12, "missing" if value is None else f"{value:.3f}", css="value"))
    return _svg(parts, height=30 + 30 * len(rows), title="K and its axes, from 0 to 1")


def slices(accuracy: Mapping[str, Any]) -> str:
    """Draw base and tuned accuracy of each slice on one line, with the tuned interval."""
    parts = []
    for place, (name, entry) in enumerate(accuracy["slices"].items()):
        y = 24 + place * 34
        label = name if len(name) <= 18 else f"{name[:17]}…"
        parts.append(_text(150, y + 4, f"{label} ({entry['n']})", anchor="end", css="label"))
        parts.append(f'<path class="axis" d="M160 {y}H520"/>')
        if entry["interval"]:
            low, high = (160 + 360 * bound for bound in entry["interval"])
            parts.append(f'<path class="span" d="M{low:.1f} {y}H{high:.1f}"/>')
        for model, css in (("base", "dot base"), ("tuned", "dot tuned")):
            if entry[model] is not None:
                parts.append(f'<circle class="{css}" cx="{160 + 360 * entry[model]:.1f}" cy="{y}" r="6"/>')
        shown = [entry[model] for model in ("base", "tuned")]
        text = " → ".join("?" if value is None else f"{value:.2f}" for value in shown)
        parts.append(_text(536, y + 4, text, css="value"))
    for share in (0, 0.5, 1):
        parts.append(_text(160 + 360 * share, 12, f"{share:g}", anchor="middle", css="small"))
    height = 30 + 34 * len(accuracy["slices"])
    return _svg(parts, height=height, title="accuracy of base and tuned model on each slice")


def curves(log: TrainLog) -> str:
    """Draw the training loss, the validation losses and the gradient norm over steps."""
    losses = [(step.step, step.loss) for step in log.steps]
    norms = [(step.step, step.grad_norm) for step in log.steps]
    held = [(row.step, row.validation_loss) for row in log.validations]
    top = _panel([("loss", losses), ("held", held)], y=16, height=130, title="loss")
    bottom = _panel([("norm", norms)], y=176, height=90, title="gradient norm")
    last = log.steps[-1].step if log.steps else 0
    ends = [_text(44, 286, "step 1", css="small"), _text(620, 286, f"{last}", anchor="end", css="small")]
    return _svg([*top, *bottom, *ends], height=292, title="training and validation loss, gradient norm")


def _panel(
    series: Sequence[tuple[str, Sequence[tuple[int, float]]]], *, y: int, height: int, title: str
) -> list[str]:
    """One set of axes with lines; their y axis starts at 0."""
    points = [point for _, line in series for point in line]
    if not points:
        return [_text(44, y + 20, f"no {title}", css="small")]
    last = max(1, max(step for step, _ in points) - 1)
    most = max(value for _, value in points) or 1.0
    parts = [
        f'<path class="axis" d="M44 {y}V{y + height}H620"/>',
        _text(40, y + 8, f"{most:.3g}", anchor="end", css="small"),
        _text(40, y + height, "0", anchor="end", css="small"),
        _text(50, y + 8, title, css="small"),
    ]
    for css, line in series:
        places = [
            (44 + 576 * (step - 1) / last, y + height * (1 - max(0.0, value) / most)) for step, value in line
        ]
        path = "L".join(f"{x:.1f} {at:.1f}" for x, at in places)
        if len(places) > 1:
            parts.append(f'<path class="line {css}" d="M{path}"/>')
        if css == "held" or len(places) == 1:
            parts += [f'<circle class="mark {css}" cx="{x:.1f}" cy="{at:.1f}" r="3.5"/>' for x, at in places]
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", css: str = "") -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], *, height: int, title: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return f"{head}<title>{escape(title)}</title>{''.join(parts)}</svg>"

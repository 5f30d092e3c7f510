"""A K-score document in a few lines for a terminal: accuracy, gain, K, and the gate, what failed first."""

from typing import Any

GATE_EXIT = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}
"""Exit code of each verdict."""

_OK = {True: "ok  ", False: "FAIL", None: "n/a "}


def score_lines(k_score: dict[str, Any]) -> list[str]:
    """Return the lines that every command shows of a K-score document (specs/formats/kscore.md)."""
    accuracy, gate = k_score["accuracy"], k_score["gate"]
    axes = "  ".join(f"{name} {_number(axis['value'])}" for name, axis in k_score["axes"].items())
    conditions = sorted(gate["conditions"], key=lambda condition: condition["ok"] is not False)
    return [
        _accuracy_line(accuracy),
        _gain_line(accuracy),
        f"K        {_with_interval(k_score)}   {axes}",
        f"gate     {gate['verdict']}",
        *(f"  {_OK[c['ok']]} {c['id']:<18} {_observed(c)}" for c in conditions),
    ]


def _observed(condition: dict[str, Any]) -> str:
    if condition["required"] is None:
        return "not judged"
    seen = "nothing" if condition["observed"] is None else condition["observed"]
    return f"required {condition['required']}, observed {seen}"


def _accuracy_line(accuracy: dict[str, Any]) -> str:
    kinds = [kind for kind in ("base", "tuned", "grey", "shuffled") if accuracy.get(kind)]
    return "eval     " + "   ".join(f"{kind} {_with_interval(accuracy[kind])}" for kind in kinds)


def _gain_line(accuracy: dict[str, Any]) -> str:
    gains = [("over base", accuracy["gain"]), ("over grey or wrong images", accuracy["image_gain"])]
    return "gain     " + "   ".join(f"{name} {_with_interval(gain)}" for name, gain in gains if gain)


def _with_interval(measured: dict[str, Any]) -> str:
    interval = measured.get("interval")
    span = f" [{_number(interval[0])}, {_number(interval[1])}]" if interval else ""
    return f"{_number(measured['value'])}{span}"


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.3f}"

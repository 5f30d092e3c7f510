"""Bundles whose eval pack asks another kind of question: an edit for `make_bundle`."""

from collections.abc import Callable

from kolm.canonical import canonical_json, canonical_lines, parse_canonical, parse_canonical_lines
from kolm.metrics import get_metric
from tests.bundles import Members


def rescored(metric_id: str, gold: str, base: str, tuned: str) -> Callable[[Members], None]:
    """An edit after which the pack asks another kind of question, answered with these words."""
    metric = get_metric(metric_id)

    def edit(members: Members) -> None:
        lock = parse_canonical(members["spec.lock.json"], what="lock")
        lock["metrics"] = {"read": metric_id}
        members["spec.lock.json"] = canonical_json(lock)
        members["eval/pack.yaml"] = bytes(members["eval/pack.yaml"]).replace(b"exact@1", metric_id.encode())
        rows = parse_canonical_lines(members["eval/pack.jsonl"], what="pack")
        members["eval/pack.jsonl"] = canonical_lines([{**row, "gold": [gold]} for row in rows])
        lines = parse_canonical_lines(members["eval/rows.jsonl"], what="rows")
        for line in lines:
            for model, output in line["outputs"].items():
                raw = base if model == "base" else tuned
                extracted, score = metric.judge(raw, [gold])
                output |= {"raw": raw, "extracted": extracted, "score": score}
        members["eval/rows.jsonl"] = canonical_lines(lines)

    return edit

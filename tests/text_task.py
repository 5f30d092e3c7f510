"""A task without pictures that a random language model learns in seconds: which team a report goes to."""

import json
from collections.abc import Iterator
from pathlib import Path

TEAMS = {"pump": "red", "valve": "blue", "motor": "green"}

SPEC = """\
kolm: 1
name: tickets
task: send a report to the team that repairs the part
base: {model: base}
data: {train: train/pairs.jsonl, eval: eval/pack.yaml}
train:
  lora_r: 8
  learning_rate: 1e-2
  num_train_epochs: 5
  per_device_train_batch_size: 16
  gradient_accumulation_steps: 1
  max_seq_length: 96
  bf16: false
generation: {max_new_tokens: 6}
eval: {min_accuracy: 0.5, gate: {k: 0.4}}
"""

PACK = """\
kolm-pack: 1
name: tickets
version: 1
slices: {team: {metric: exact@1}}
"""


def reports(start: int, count: int) -> Iterator[tuple[str, str]]:
    """Yield reports and the team each goes to; other numbers give other reports."""
    parts = list(TEAMS)
    for number in range(start, start + count):
        part = parts[number * 7 % len(parts)]
        yield f"Report {number}: the {part} fails.", TEAMS[part]


def rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Return training rows."""
    return [{"prompt": asked, "response": team} for asked, team in reports(start, count)]


def write_task(folder: Path, *, train: int = 96, questions: int = 104) -> Path:
    """Write pairs, pack and spec beside a folder `base`, and return the spec."""
    asked = [
        {"id": f"q-{n:03}", "prompt": report, "gold": team}
        for n, (report, team) in enumerate(reports(5000, questions))
    ]
    (folder / "train").mkdir(parents=True)
    (folder / "eval").mkdir()
    (folder / "train" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(train)))
    (folder / "eval" / "pack.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (folder / "eval" / "pack.yaml").write_text(PACK)
    (folder / "spec.yaml").write_text(SPEC)
    return folder / "spec.yaml"

"""Eval packs as tasks of other harnesses, scored there by the same definitions.

Written against lmms-eval 0.7.2 (github.com/EvolvingLMMs-Lab/lmms-eval: task YAML with hooks in `utils.py`)
and inspect_ai 0.3.285 (inspect.aisi.org.uk: a task file that reads a `json_dataset`). Both call
`kolm.metrics`, so kolm is installed beside the harness.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kolm.errors import SpecError
from kolm.files import make_folder, new_folder, write_atomic
from kolm.pack import EvalPack, PackRow
from kolm.pack.model import image_name
from kolm.scorecard import clusters

LMMS_EVAL, INSPECT = "lmms-eval", "inspect"

_LMMS_YAML = """\
# An eval pack of kolm as a task of lmms-eval 0.7.2:
#   lmms-eval --include_path FOLDER --tasks {task} --model ...
# Digest of the pack: {digest}
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: rows.jsonl
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visuals
doc_to_text: !function utils.text
doc_to_target: target
process_results: !function utils.scores
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  do_sample: false
cluster_key: cluster
score_key: score
metric_list:
{metrics}metadata:
  - version: 1
"""

_LMMS_METRIC = """\
  - metric: {name}
    aggregation: !function utils.mean
    higher_is_better: true
"""

_LMMS_HOOKS = '''\
"""Pictures, questions and scores of an eval pack of kolm, for lmms-eval 0.7.2."""

from pathlib import Path

from kolm.images import open_image
from kolm.metrics import get_metric

FOLDER = Path(__file__).resolve().parent


def visuals(doc):
    """Return the pictures of a row, upright and RGB."""
    return [open_image((FOLDER / name).read_bytes(), what=name) for name in doc["images"]]


def text(doc, lmms_eval_specific_kwargs=None):
    """Return the question as the pack asks it."""
    return doc["prompt"]


def scores(doc, results):
    """Score one answer by the metric of its slice."""
    score = get_metric(doc["metric"]).judge(results[0], doc["gold"]).score
    entry = {"score": score, "cluster": doc["cluster"]}
    return {"score": entry, doc["measure"]: entry}


def mean(entries):
    """Return the mean score."""
    return sum(entry["score"] for entry in entries) / len(entries)
'''

_INSPECT_TASK = '''\
"""An eval pack of kolm as a task of inspect_ai 0.3.285: inspect eval {task}.py --model ...

Digest of the pack: {digest}
"""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, grouped, mean, scorer, stderr
from inspect_ai.solver import generate

from kolm.metrics import get_metric

ROWS = Path(__file__).resolve().parent / "rows.jsonl"


@scorer(metrics=[grouped(mean(), "slice", name_template="slice {{group_name}}"), stderr(cluster="cluster")])
def pack_score():
    """Score each answer by the metric of its slice."""

    async def score(state, target):
        judged = get_metric(state.metadata["metric"]).judge(state.output.completion, list(target))
        return Score(value=judged.score, answer=judged.extracted)

    return score


@task
def {task}():
    """Ask every question of the pack once, greedily."""
    config = GenerateConfig(temperature=0, max_tokens={tokens})
    return Task(dataset=json_dataset(str(ROWS)), solver=generate(), scorer=pack_score(), config=config)
'''


def export_pack(pack: EvalPack, directory: Path, *, harness: str, max_new_tokens: int) -> str:
    """Write a pack as a task of a harness to a folder that is not there yet; return the task's name.

    Raises DataError when a picture has changed or is withheld, SpecError, StorageError.
    """
    if harness not in _WRITERS:
        raise SpecError(f"there is no harness {harness!r} to export to", hint=f"--to {' or '.join(_WRITERS)}")
    task = "pack_" + re.sub(r"[^a-z0-9]+", "_", pack.name.lower()).strip("_")[:60]
    with new_folder(directory) as draft:
        make_folder(draft / "images")
        for cid in pack.images:
            write_atomic(draft / image_name(pack, cid), pack.image_bytes(cid))
        _WRITERS[harness](pack, draft, task, max_new_tokens)
    return task


def _write_lmms(pack: EvalPack, draft: Path, task: str, tokens: int) -> None:
    names = ["score", *_measures(pack).values()]
    metrics = "".join(_LMMS_METRIC.format(name=json.dumps(name)) for name in names)
    yaml = _LMMS_YAML.format(task=task, digest=pack.digest, tokens=tokens, metrics=metrics)
    write_atomic(draft / f"{task}.yaml", yaml.encode())
    write_atomic(draft / "utils.py", _LMMS_HOOKS.encode())
    _write_rows(draft, (_document(pack, row, cluster) for row, cluster in _clustered(pack)))


def _write_inspect(pack: EvalPack, draft: Path, task: str, tokens: int) -> None:
    text = _INSPECT_TASK.format(task=task, digest=pack.digest, tokens=tokens)
    write_atomic(draft / f"{task}.py", text.encode())
    _write_rows(draft, (_sample(pack, row, cluster) for row, cluster in _clustered(pack)))


_WRITERS: dict[str, Callable[[EvalPack, Path, str, int], None]] = {
    LMMS_EVAL: _write_lmms,
    INSPECT: _write_inspect,
}


def _write_rows(draft: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(draft / "rows.jsonl", lines.encode())


def _clustered(pack: EvalPack) -> list[tuple[PackRow, str]]:
    return list(zip(pack.rows, clusters(pack), strict=True))


def _measures(pack: EvalPack) -> dict[str, str]:
    """Name the measure of each slice; names of slices are free, those of measures are not."""
    return {
        slice_: f"score_{number}_{re.sub(r'[^A-Za-z0-9]+', '_', slice_)}"
        for number, slice_ in enumerate(pack.slices, start=1)
    }


def _document(pack: EvalPack, row: PackRow, cluster: str) -> dict[str, Any]:
    """Return a row as lmms-eval's hooks read it; every row has the same columns."""
    return {
        "id": row.id,
        "images": [image_name(pack, cid) for cid in row.images],
        "prompt": row.prompt,
        "gold": list(row.gold),
        "target": row.gold[0],
        "slice": row.slice,
        "metric": pack.slices[row.slice].metric,
        "measure": _measures(pack)[row.slice],
        "cluster": cluster,
    }


def _sample(pack: EvalPack, row: PackRow, cluster: str) -> dict[str, Any]:
    """Return a row as inspect_ai's `json_dataset` reads a sample."""
    shown = [{"type": "image", "image": image_name(pack, cid)} for cid in row.images]
    content = [*shown, {"type": "text", "text": row.prompt}]
    about = {"slice": row.slice, "metric": pack.slices[row.slice].metric, "cluster": cluster}
    return {
        "id": row.id,
        "input": [{"role": "user", "content": content}],
        "target": list(row.gold),
        "metadata": about if row.group is None else {**about, "group": row.group},
    }

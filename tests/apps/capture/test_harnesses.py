import ast
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from apps.capture.harnesses import export_pack
from apps.capture.packs import Wish, import_pack
from kolm.errors import DataError, SpecError
from kolm.metrics import get_metric
from kolm.pack import EvalPack, load_pack, pack_from_members, pack_members
from kolm.yamldoc import read_yaml
from tests.apps.capture.published import chartqa_folder
from tests.pictures import png_of, write_png


@pytest.fixture
def pack(tmp_path: Path) -> EvalPack:
    return import_pack(chartqa_folder(tmp_path / "source"), tmp_path / "pack", Wish()).pack


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lmms_eval_task_scores_as_the_pack_does(pack: EvalPack, tmp_path: Path) -> None:
    out = tmp_path / "out"
    task = export_pack(pack, out, harness="lmms-eval", max_new_tokens=20)
    yaml = (out / f"{task}.yaml").read_text()
    hooks = module_at(out / "utils.py")
    assert all(hasattr(hooks, name) for name in re.findall(r"!function utils\.(\w+)", yaml))
    config = read_yaml(yaml.replace("!function ", "").encode(), name="task").value
    assert (config["dataset_path"], config["dataset_kwargs"]) == (
        "json",
        {"data_files": {"test": "rows.jsonl"}},
    )
    assert config["generation_kwargs"] == {"max_new_tokens": 20, "temperature": 0, "do_sample": False}
    docs = rows_of(out)
    assert len({frozenset(doc) for doc in docs}) == 1
    gathered: dict[str, list[Any]] = {measure["metric"]: [] for measure in config["metric_list"]}
    for row, doc in zip(pack.rows, docs, strict=True):
        assert hooks.text(doc, lmms_eval_specific_kwargs=None) == row.prompt
        assert [picture.tobytes() for picture in hooks.visuals(doc)] == [
            pack.image(cid).tobytes() for cid in row.images
        ]
        for measure, entry in hooks.scores(doc, ["14"]).items():
            assert entry["score"] == get_metric("relaxed@1").judge("14", row.gold).score
            gathered[measure].append(entry)
    assert [len(entries) for entries in gathered.values()] == [4, 3, 1]
    assert hooks.mean(gathered["score"]) == 0.25
    assert len({doc[config["cluster_key"]] for doc in docs}) == 2


def test_inspect_task_reads_samples_of_its_dataset(pack: EvalPack, tmp_path: Path) -> None:
    """What inspect_ai 0.3.285 reads: a decorated function, and samples with input, target, id, metadata."""
    out = tmp_path / "out"
    task = export_pack(pack, out, harness="inspect", max_new_tokens=20)
    tree = ast.parse((out / f"{task}.py").read_text())
    made = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert [ast.unparse(decorator) for decorator in made[task].decorator_list] == ["task"]
    assert "max_tokens=20" in ast.unparse(made[task])
    for row, sample in zip(pack.rows, rows_of(out), strict=True):
        assert sample.keys() == {"id", "input", "target", "metadata"}
        (turn,) = sample["input"]
        *shown, asked = turn["content"]
        assert (turn["role"], asked, sample["target"]) == (
            "user",
            {"type": "text", "text": row.prompt},
            list(row.gold),
        )
        assert [(out / part["image"]).read_bytes() for part in shown] == [
            pack.image_bytes(cid) for cid in row.images
        ]
        assert sample["metadata"]["group"] == row.group
        assert sample["metadata"]["metric"] == "relaxed@1"


NAMES = {
    "code": 'x"); import os #',
    "lines": "a\\n\\ndef f(): pass",
    "slashes": "../../etc",
    "none of them letters": "日本",
}


@pytest.mark.parametrize("harness", ["lmms-eval", "inspect"])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_name_of_a_pack_becomes_no_code_and_no_path(name: str, harness: str, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png")
    row = {"image": "a.png", "prompt": '"""', "gold": "x", "slice": 'a"b: c'}
    (tmp_path / "pack.jsonl").write_text(json.dumps(row))
    slices = "slices: {'a\"b: c': {metric: exact@1}}"
    (tmp_path / "pack.yaml").write_text(f"kolm-pack: 1\nname: {json.dumps(name)}\nversion: 1\n{slices}\n")
    task = export_pack(load_pack(tmp_path / "pack.yaml"), tmp_path / "o", harness=harness, max_new_tokens=8)
    assert re.fullmatch(r"pack_[a-z0-9_]*", task)
    held = {path.name for path in (tmp_path / "o").iterdir()}
    suffix = "py" if harness == "inspect" else "yaml"
    assert held - {"utils.py"} == {f"{task}.{suffix}", "rows.jsonl", "images"}
    if harness == "inspect":
        ast.parse((tmp_path / "o" / f"{task}.py").read_text())
    else:
        read_yaml((tmp_path / "o" / f"{task}.yaml").read_bytes().replace(b"!function ", b""), name="task")


def test_pack_without_its_pictures_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of("red"))
    (tmp_path / "pack.jsonl").write_text('{"image": "a.png", "prompt": "?", "gold": "x"}\n')
    (tmp_path / "pack.yaml").write_text(
        "kolm-pack: 1\nname: a\nversion: 1\nwithhold: images\nslices: {all: {metric: exact@1}}\n"
    )
    members = pack_members(load_pack(tmp_path / "pack.yaml"))
    with pytest.raises(DataError, match="is withheld"):
        export_pack(
            pack_from_members(members.__getitem__), tmp_path / "o", harness="inspect", max_new_tokens=8
        )
    assert not (tmp_path / "o").exists()


def test_unknown_harness_is_refused(pack: EvalPack, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no harness 'helm'"):
        export_pack(pack, tmp_path / "o", harness="helm", max_new_tokens=8)

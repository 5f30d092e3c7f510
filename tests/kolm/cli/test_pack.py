import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kolm.cli.pack import app
from kolm.intervals import detectable_gain
from kolm.pack import load_pack
from tests.apps.capture.published import chartqa_folder, docvqa_json, write_json


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    done = call("import", chartqa_folder(tmp_path / "source"), "--to", tmp_path / "pack")
    assert done.exit_code == 0, done.output
    return tmp_path / "pack"


def test_import_writes_a_pack_and_says_what_it_holds(folder: Path, tmp_path: Path) -> None:
    pack = load_pack(folder / "pack.yaml")
    shown = json.loads(call("show", folder, "--json").stdout)
    assert shown == {
        "name": "source",
        "version": "1",
        "digest": pack.digest,
        "rows": 4,
        "slices": {
            "human": {"metric": "relaxed@1", "rows": 3},
            "machine": {"metric": "relaxed@1", "rows": 1},
        },
        "images": 2,
        "groups": 2,
        "cluster": "group",
        "clusters": 2,
        "withhold": None,
        "detectable_gain": None,
    }
    again = call("import", tmp_path / "source", "--to", tmp_path / "b", "--limit", 1, "--json")
    told = json.loads(again.stdout)
    assert (told["rows"], told["format"], told["refused"]) == (1, "chartqa", 0)
    assert Path(told["path"]) == tmp_path / "b" / "pack.yaml"


def test_show_gives_the_same_for_a_folder_and_its_yaml(folder: Path) -> None:
    assert call("show", folder).stdout == call("show", folder / "pack.yaml").stdout
    assert "none can be shown with so few questions" in call("show", folder).stdout


def test_smallest_gain_is_that_of_the_clusters(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}?", "gold": "x", "group": str(n // 3)} for n in range(300)]
    (tmp_path / "pack.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yaml = "kolm-pack: 1\nname: a\nversion: 1\ncluster: group\nslices: {all: {metric: exact@1}}\n"
    (tmp_path / "pack.yaml").write_text(yaml)
    shown = json.loads(call("show", tmp_path, "--json").stdout)
    assert (shown["rows"], shown["groups"], shown["clusters"]) == (300, 100, 100)
    assert shown["detectable_gain"] == detectable_gain(100, discordant=0.2)
    assert f"{100 * shown['detectable_gain']:.1f} points" in call("show", tmp_path).stdout


@pytest.mark.parametrize("kind", ["receipts", "screens"])
def test_drawn_pack_is_the_same_for_the_same_seed(kind: str, tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        done = call("draw", kind, "--to", tmp_path / str(number), "--rows", 4, "--seed", seed, "--json")
        digests.append(json.loads(done.stdout)["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_unknown_kind_is_refused(tmp_path: Path) -> None:
    done = call("draw", "maps", "--to", tmp_path / "drawn")
    assert (done.exit_code, (tmp_path / "drawn").exists()) == (2, False)
    assert "nothing draws 'maps'" in done.stderr


def test_refused_rows_end_in_exit_code_6_and_can_be_left_out(tmp_path: Path) -> None:
    path = docvqa_json(tmp_path / "source")
    document = json.loads(path.read_text())
    document["data"][0]["answers"] = []
    write_json(path, document)
    done = call("import", path, "--to", tmp_path / "pack")
    assert done.exit_code == 6
    assert "1 row refused: row 1: no answer" in done.stderr
    done = call("import", path, "--to", tmp_path / "pack", "--partial", "--json")
    assert json.loads(done.stdout)["refused"] == 1
    assert "left out: 1 row refused: row 1: no answer" in done.stderr


def test_export_names_the_task(folder: Path, tmp_path: Path) -> None:
    done = call("export", folder, "--to", "inspect", "--out", tmp_path / "out")
    assert done.stdout.splitlines()[1] == "task     pack_source, of inspect"
    assert (tmp_path / "out" / "pack_source.py").is_file()
    assert call("export", folder, "--to", "inspect", "--out", tmp_path / "out").exit_code == 2


def test_a_metric_that_nobody_knows_is_named(folder: Path) -> None:
    yaml = folder / "pack.yaml"
    yaml.write_text(yaml.read_text().replace("relaxed@1", "relaxd@1"))
    shown = call("show", folder)
    assert shown.exit_code == 2
    assert "unknown metric `relaxd@1`" in shown.stderr
    assert "did you mean `relaxed@1`?" in shown.stderr


def test_gold_that_the_wished_metric_cannot_compare_with_is_refused(tmp_path: Path) -> None:
    source = chartqa_folder(tmp_path / "source")
    refused = call("import", source, "--to", tmp_path / "pack", "--metric", "iou-thousand@1")
    assert refused.exit_code == 6
    assert "4 rows refused: row 1:" in refused.stderr
    assert "is not a box" in refused.stderr
    assert not (tmp_path / "pack").exists()


def test_a_folder_of_pictures_that_is_none_is_said_once(tmp_path: Path) -> None:
    source = chartqa_folder(tmp_path / "source")
    for nowhere in (tmp_path / "nowhere", source / "test_human.json"):
        refused = call("import", source, "--to", tmp_path / "pack", "--images", nowhere)
        assert refused.exit_code == 2
        assert f"no folder at {nowhere}" in refused.stderr

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from kolm.captures import Captures
from kolm.cli.capture import app
from kolm.dataset import load_dataset
from tests.apps.capture.published import vqav2_json
from tests.pictures import write_png


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["image_path,question,answer"]
    for number in range(30):
        write_png(tmp_path / f"{number}.png", (number, 9, 9))
        lines.append(f"{number}.png,Which number?,n{number}")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_capture_is_a_group_of_commands() -> None:
    assert isinstance(app, typer.Typer)
    assert {command.name for command in app.registered_commands} == {"add", "import", "ls", "split"}


def test_pair_is_added_once(tmp_path: Path) -> None:
    image = write_png(tmp_path / "red.png")
    words = ("add", "--into", "ns", "--image", image, "--prompt", "Colour?", "--response", "red")
    assert call(*words).stdout == "row-000001 added to ns\n"
    assert call(*words).stdout == "row-000001 already in ns\n"
    assert json.loads(call(*words, "--json").stdout) == {"id": "row-000001", "known": True}
    assert call("ls").stdout == "ns  1 rows  1 images\n"
    assert call("ls", "ns").stdout == "row-000001  1 images  Colour?  ->  red\n"


def test_import_then_split_prints_pins_that_load(table: Path, tmp_path: Path) -> None:
    assert call("import", table, "--into", "ns").stdout == "30 rows imported into ns\n"
    assert "30 were there already" in call("import", table, "--into", "ns").stdout
    pack = tmp_path / "pack"
    done = call("split", "ns", "--validation", "0.2", "--eval", "0.3", "--pack", pack)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["train", "validation", "eval", "pack"]
    counts = [load_dataset(line[1], root=tmp_path).count for line in lines[:3]]
    assert [int(line[2]) for line in lines[:3]] == counts
    assert sum(counts) == 30
    assert Path(lines[3][1]) == pack / "pack.yaml"


def test_json_results_are_one_object(table: Path) -> None:
    assert json.loads(call("import", table, "--into", "ns", "--json").stdout) == {
        "imported": 30,
        "known": 0,
        "refused": 0,
    }
    assert json.loads(call("ls", "--json").stdout) == {
        "namespaces": [{"name": "ns", "rows": 30, "images": 30}]
    }
    assert len(json.loads(call("ls", "ns", "--json").stdout)["rows"]) == 30
    split = json.loads(call("split", "ns", "--json").stdout)
    assert split["sets"]["train"]["rows"] == 30
    assert split["pack"] is None


def test_refused_rows_end_in_exit_code_6_with_the_others_imported(table: Path) -> None:
    with table.open("a") as handle:
        handle.write("gone.png,Which number?,none\n")
    done = call("import", table, "--into", "ns")
    assert done.exit_code == 6
    assert done.stdout == ""
    assert "30 imported into ns" in done.stderr
    assert "row 31: no such image file: gone.png" in done.stderr
    error = json.loads(call("import", table, "--into", "other", "--json").stdout)["error"]
    assert error["kind"] == "DataError"
    assert "row 31" in error["message"]


BAD_CALLS = {
    "unknown namespace": (("ls", "nothing"), 6, "no namespace"),
    "impossible namespace": (("split", "../x"), 6, "cannot name a namespace"),
    "pack without eval": (("split", "ns", "--pack", "p"), 2, "--pack needs --eval"),
    "missing file": (("import", "gone.csv", "--into", "ns"), 6, "no such file"),
    "fraction above one": (("split", "ns", "--validation", "1.5"), 2, "--validation"),
}


@pytest.mark.parametrize(("words", "code", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_call_ends_in_its_exit_code_and_one_message(
    words: tuple[str, ...], code: int, message: str
) -> None:
    done = call(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr


def test_interrupted_append_is_told(tmp_path: Path) -> None:
    image = write_png(tmp_path / "red.png")
    words = ("add", "--into", "ns", "--image", image, "--prompt", "q", "--response")
    call(*words, "a")
    with Captures.at_home().rows("ns").open("ab") as handle:
        handle.write(b"{half")
    assert "ignored 5 bytes" in call("ls", "ns").stderr
    assert "cut off 5 bytes" in call(*words, "b").stderr


def test_empty_store_says_so() -> None:
    assert call("ls").stdout == "no captures yet\n"


def test_long_texts_are_cut_in_a_listing(tmp_path: Path) -> None:
    image = write_png(tmp_path / "red.png")
    call("add", "--into", "ns", "--image", image, "--prompt", "word " * 50, "--response", "x\ny")
    line = call("ls", "ns").stdout
    assert "..." in line
    assert line.endswith("->  x y\n")


def test_published_shape_is_imported_by_its_name_or_recognised(tmp_path: Path) -> None:
    path = vqav2_json(tmp_path / "vqa")
    assert call("import", path, "--into", "a", "--format", "vqav2").stdout == "2 rows imported into a\n"
    assert call("import", path, "--into", "a", "--format", "auto").stdout.startswith("0 rows imported into a")
    (tmp_path / "vqa" / "val2014").rename(tmp_path / "pictures")
    elsewhere = ("--format", "auto", "--images", tmp_path / "pictures")
    assert call("import", path, "--into", "b", *elsewhere).stdout == "2 rows imported into b\n"


def test_folder_of_pictures_needs_a_format(table: Path, tmp_path: Path) -> None:
    done = call("import", table, "--into", "ns", "--images", tmp_path)
    assert (done.exit_code, "--images needs --format" in done.stderr) == (2, True)

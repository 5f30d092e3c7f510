"""`kolm leaks`: what is in both is an error, what looks alike is handed to a person."""

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from kolm.cid import sha256_hex
from kolm.cli.leaks import leak_lines, leaks
from kolm.images import to_png
from kolm.review import read_review
from tests.lookalikes import cropped, jpeg, sheet

SPEC = """\
kolm: 1
name: sheets
base: {model: base}
data: {train: train.jsonl, eval: pack.yaml}
eval: {min_accuracy: 0.5}
"""
PACK = "kolm-pack: 1\nname: asked\nversion: 1\nslices: {all: {metric: exact@1}}\n"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Two training pictures, a JPEG of one, a crop of the other, and one that is like neither."""
    pictures = {"one": sheet(1), "two": sheet(2), "other": sheet(3)}
    pictures |= {"jpeg": jpeg(sheet(1)), "crop": cropped(sheet(2))}
    for name, picture in pictures.items():
        (tmp_path / f"{name}.png").write_bytes(to_png(picture))
    trained = [
        {"id": f"<b>{name}", "image": f"{name}.png", "prompt": "q", "response": "r"}
        for name in ("one", "two")
    ]
    asked = [
        {"id": name, "image": f"{name}.png", "prompt": "q", "gold": "r"} for name in ("jpeg", "crop", "other")
    ]
    write(tmp_path / "train.jsonl", trained)
    write(tmp_path / "pack.jsonl", asked)
    (tmp_path / "pack.yaml").write_text(PACK)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(*words: object) -> Result:
    app = typer.Typer()
    app.command()(leaks)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_near_duplicates_are_listed_and_are_no_error(task: Path) -> None:
    result = run(task)
    assert result.exit_code == 0, result.output
    assert "none: no eval picture, group or question is trained on" in result.stdout
    assert "2 near duplicates, 0 reviewed, 2 waiting; the gate will fail (no_near_duplicate)" in result.stdout
    assert re.search(r"copy, worst tile differs by 0\.\d{3}: <b>one and jpeg; unreviewed", result.stdout)
    assert re.search(r"part, worst tile differs by 0\.\d{3}: <b>two and crop; unreviewed", result.stdout)


def test_the_written_list_is_reviewed_and_counts(task: Path, tmp_path: Path) -> None:
    out = tmp_path / "reviewed.jsonl"
    assert run(task, "--out", out).exit_code == 0
    task.write_text(SPEC.replace("eval: pack.yaml", "eval: pack.yaml, reviewed: reviewed.jsonl"))
    assert set(read_review(out).verdicts.values()) == {"unreviewed"}
    assert json.loads(run(task, "--json").stdout)["counts"]["waiting"] == 2

    edited = out.read_text().replace('"by":""', '"by":"Ada"').replace("unreviewed", "distinct", 1)
    out.write_text(edited.replace("unreviewed", "duplicate"))
    found = json.loads(run(task, "--json").stdout)
    assert (found["counts"]["reviewed"], found["counts"]["waiting"], found["counts"]["unused"]) == (1, 1, 0)
    assert sorted(pair["verdict"] for pair in found["near_duplicates"]) == ["distinct", "duplicate"]
    assert found["near_duplicates"][0]["train"] == sha256_hex((tmp_path / "one.png").read_bytes())


def test_a_list_that_exists_keeps_what_people_wrote(task: Path, tmp_path: Path) -> None:
    out = tmp_path / "reviewed.jsonl"
    run(task, "--out", out)
    judged = (
        out.read_text().splitlines()[0].replace('"by":""', '"by":"Ada"').replace("unreviewed", "distinct")
    )
    out.write_text(judged)  # without a newline at its end, as some editors leave it
    task.write_text(SPEC.replace("eval: pack.yaml", "eval: pack.yaml, reviewed: reviewed.jsonl"))
    for said in ("1 more pairs", "0 more pairs"):
        assert said in run(task, "--out", out).stderr
        assert out.read_text().startswith(judged + "\n")
        assert sorted(read_review(out).verdicts.values()) == ["distinct", "unreviewed"]


def test_a_file_that_is_no_list_is_not_written_over(task: Path, tmp_path: Path) -> None:
    before = (tmp_path / "train.jsonl").read_bytes()
    result = run(task, "--out", tmp_path / "train.jsonl")
    assert result.exit_code == 6
    assert "train.jsonl:1: unknown member 'id'" in result.stderr
    assert (tmp_path / "train.jsonl").read_bytes() == before


def test_the_page_shows_pairs_and_trusts_no_name(task: Path, tmp_path: Path) -> None:
    assert run(task, "--html", tmp_path / "pairs.html").exit_code == 0
    page = (tmp_path / "pairs.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == 4
    assert "&lt;b&gt;one" in page
    assert "<b>one" not in page
    assert not re.search(r"<script|https?://", page)


def test_exact_leaks_are_an_error(task: Path, tmp_path: Path) -> None:
    with (tmp_path / "train.jsonl").open("a") as rows:
        rows.write(json.dumps({"id": "leak", "image": "other.png", "prompt": "q", "response": "r"}) + "\n")
        rows.write(
            json.dumps({"id": "grouped", "prompt": "Two?", "response": "2", "group": "table 1"}) + "\n"
        )
    with (tmp_path / "pack.jsonl").open("a") as rows:
        rows.write(json.dumps({"id": "told", "prompt": "two", "gold": "2", "group": "table 1"}) + "\n")
    result = run(task)
    assert result.exit_code == 6
    assert "1 by a picture, 1 by a group, 1 by a question without pictures" in result.stdout
    assert "the gate will fail (no_leak)" in result.stdout
    for line in ("bytes: leak (rows) and other", "answer: grouped and told", "  told"):
        assert line in result.stdout


def test_a_missing_list_is_named(task: Path) -> None:
    task.write_text(SPEC.replace("eval: pack.yaml", "eval: pack.yaml, reviewed: gone.jsonl"))
    result = run(task)
    assert result.exit_code == 6
    assert "gone.jsonl" in result.stderr


def test_nothing_found_is_one_line() -> None:
    names = ("pictures", "groups", "questions", "found", "reviewed", "waiting", "unused")
    counts = dict.fromkeys(names, 0)
    assert leak_lines(counts, Path("spec.yaml")) == [
        "none: no eval picture, group or question is trained on, and no two pictures look alike"
    ]
    assert (
        "kolm leaks in/spec.yaml --out in/reviewed.jsonl, then data.reviewed: reviewed.jsonl"
        in leak_lines(counts | {"found": 1, "waiting": 1}, Path("in/spec.yaml"))[-1]
    )
    assert leak_lines(counts | {"unused": 2}, Path("spec.yaml"))[-1].startswith("2 entries")

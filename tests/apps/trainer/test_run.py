"""Tables of questions, asked of a model that answers with its question; artifacts that were changed."""

import csv
import json
from pathlib import Path

import pytest

from apps.trainer.run import CompiledModel, answer_table
from kolm.container import Container, write_container
from kolm.errors import DataError, VerificationError
from tests.bundles import make_bundle


class Parrot:
    """Answers with the question and the pictures it was shown."""

    sees_images = True

    def ask(self, images, prompt, *, root=None):
        return f"{prompt} {','.join(map(str, images))}"


def answered(table: Path, *, out: str = "out.jsonl") -> Path:
    path = table.parent / out
    answer_table(Parrot(), table, out=path)  # type: ignore[arg-type]
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def test_separators_inside_text_do_not_end_a_line(tmp_path: Path):
    row = {"image": "a.png", "prompt": "one\u2028two\x85three", "note": "kept", "n": 3}
    table = tmp_path / "q.jsonl"
    table.write_text(json.dumps(row, ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert lines(answered(table)) == [row | {"response": f"{row['prompt']} a.png"}]


def test_other_columns_stay_as_they_were(tmp_path: Path):
    table = tmp_path / "q.csv"
    table.write_bytes('\ufeffquestion,page,image_path,answer\r\nWhat?,7,a.png,"x\ny"\r\n'.encode())
    with answered(table, out="out.csv").open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    expected = {"question": "What?", "page": "7", "image_path": "a.png", "answer": "x\ny"}
    assert row == expected | {"response": "What? a.png"}


@pytest.mark.parametrize("name", ["image", "image_path", "images"])
@pytest.mark.parametrize("prompt", ["prompt", "question"])
def test_names_and_aliases_are_those_of_pairs(tmp_path: Path, name: str, prompt: str):
    table = tmp_path / "q.jsonl"
    table.write_text(json.dumps({name: ["a.png", "b.png"], prompt: "?"}))
    assert lines(answered(table))[0]["response"] == "? a.png,b.png"


GOOD = '{"image": "a.png", "prompt": "?"}'
BAD_ROWS = {
    "broken JSON": ("{", "not JSON"),
    "not an object": ("[]", "not a JSON object"),
    "no image": ('{"prompt": "?"}', "needs an image and a prompt"),
    "empty prompt": ('{"image": "a.png", "prompt": ""}', "needs an image and a prompt"),
    "prompt that is no text": ('{"image": "a.png", "prompt": 3}', "prompt is not text"),
    "one thing said twice": ('{"image": "a.png", "images": "b.png", "prompt": "?"}', "says the same"),
    "an answer already": (
        '{"image": "a.png", "prompt": "?", "response": "two"}',
        "it has a `response` column",
    ),
    "half a surrogate": ('{"image": "a.png", "prompt": "?", "note": "\\ud800"}', "surrogate"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_named_by_its_number(tmp_path: Path, bad: str, reason: str):
    table = tmp_path / "q.jsonl"
    table.write_text(f"{GOOD}\n\n{bad}\n{GOOD}\n")
    with pytest.raises(DataError, match="row 3: ") as caught:
        answered(table)
    assert reason in caught.value.message
    assert not (tmp_path / "out.jsonl").exists()


def test_a_csv_row_with_a_missing_cell_is_named(tmp_path: Path):
    table = tmp_path / "q.csv"
    table.write_text("image,prompt\na.png,?\nb.png\n")
    with pytest.raises(DataError, match="row 2: 1 cells under 2 columns"):
        answered(table)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("q.jsonl", "\n", "holds no rows"),
        ("q.csv", "image,prompt\n", "holds no rows"),
        ("q.csv", "image,prompt,note,note\n", "the header names"),
        ("q.txt", GOOD, "neither .jsonl nor .csv"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, text: str, reason: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=reason):
        answered(tmp_path / name)


def test_members_that_the_manifest_does_not_list_are_never_loaded(tmp_path: Path):
    bundle = make_bundle(tmp_path, rows=2)
    with Container.open(bundle.artifact_path) as container:
        members = {name: container.read(name) for name in container.names}
    members["adapter/adapter_config.json"] += b" "
    write_container(tmp_path / "changed.kolm", members)
    with pytest.raises(VerificationError) as caught, CompiledModel.open(tmp_path / "changed.kolm"):
        pytest.fail("it must not open")
    assert caught.value.check == "E_MEMBER_DIGEST"

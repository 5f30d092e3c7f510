import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.capture.importers import import_file
from apps.capture.packs import Made, Wish, import_pack
from apps.capture.sources import SOURCES, source_of
from apps.capture.store import store_at
from kolm.errors import DataError, SpecError
from kolm.metrics import get_metric
from kolm.pack import load_pack
from tests.apps.capture.published import (
    WRITERS,
    chartqa_folder,
    chartqa_json,
    chat_lines,
    cord_folder,
    docvqa_json,
    llava_json,
    stored,
    textvqa_json,
    vqav2_json,
    write_json,
    write_lines,
    write_table,
)
from tests.pictures import png_of, shade, write_png

Write = Callable[[Path], Path]
WAYS = pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS)


def made(tmp_path: Path, write: Write, **wish: Any) -> Made:
    return import_pack(write(tmp_path / "source"), tmp_path / "pack", Wish(**wish))


@WAYS
def test_published_shape_is_recognised_and_becomes_a_pack(name: str, write: Write, tmp_path: Path) -> None:
    done = made(tmp_path, write)
    assert done.source.name == name
    again = load_pack(done.path)
    assert (again.rows, again.digest) == (done.pack.rows, done.pack.digest)
    for row in again.rows:
        assert row.images
        metric = get_metric(again.slices[row.slice].metric)
        best = max(metric.judge(answer, row.gold).score for answer in row.gold)
        assert best == 1, (row, metric.id)


@WAYS
def test_published_shape_becomes_training_rows(name: str, write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "source")
    asked = import_pack(path, tmp_path / "pack", Wish()).pack.rows
    store = store_at()
    done = import_file(store, path, namespace="ns", format=name)
    examples = store.contents("ns").examples
    assert not done.refusals
    learned = [(example.images, example.response) for example in examples]
    assert learned == [(row.images, row.gold[0]) for row in asked]
    groups = [row.group or row.images[0] for row in asked]
    assert [example.group for example in examples] == groups


def test_every_source_is_written_by_a_test() -> None:
    assert {name for name, _ in WRITERS.values()} == set(SOURCES)


def test_chartqa_has_a_slice_for_each_side_and_a_group_for_each_chart(tmp_path: Path) -> None:
    pack = made(tmp_path, chartqa_folder).pack
    assert [row.slice for row in pack.rows] == ["human", "human", "human", "machine"]
    assert pack.rows[2].group == pack.rows[3].group == "chartqa:41699051002.png"
    assert pack.cluster == "group"


def test_questions_of_ten_people_keep_all_their_answers(tmp_path: Path) -> None:
    row = made(tmp_path, textvqa_json).pack.rows[0]
    assert (row.id, row.group, len(row.gold)) == ("34602", "textvqa:003a8ae2ef43b901", 10)
    assert get_metric("vqa@1").judge("nous les gosses", row.gold).score == 0.3


def test_vqa_v2_joins_questions_and_annotations(tmp_path: Path) -> None:
    pack = made(tmp_path, vqav2_json).pack
    assert [(row.id, row.slice, row.gold[0]) for row in pack.rows] == [
        ("262148000", "other", "down"),
        ("262148001", "yes-no", "no"),
    ]
    (tmp_path / "source" / "v2_mscoco_val2014_annotations.json").unlink()
    with pytest.raises(DataError, match=r"no v2_mscoco_val2014_annotations\.json beside"):
        import_pack(
            tmp_path / "source" / "v2_OpenEnded_mscoco_val2014_questions.json", tmp_path / "again", Wish()
        )


def test_pictures_may_lie_in_another_folder(tmp_path: Path) -> None:
    path = chartqa_json(tmp_path / "source")
    (tmp_path / "source" / "png").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="--images names their folder"):
        import_pack(path, tmp_path / "pack", Wish())
    done = import_pack(path, tmp_path / "pack", Wish(images=tmp_path / "elsewhere"))
    assert len(done.pack.images) == 2


def test_metric_slice_limit_and_prompt_are_chosen(tmp_path: Path) -> None:
    pack = made(tmp_path, chartqa_folder, slice="human", limit=2, metric="relaxed-strict@1").pack
    assert (len(pack.rows), set(pack.slices)) == (2, {"human"})
    assert pack.slices["human"].metric == "relaxed-strict@1"
    cord = import_pack(
        cord_folder(tmp_path / "cord"), tmp_path / "c", Wish(prompt="JSON?", metric="field-f1@1")
    ).pack
    assert (cord.rows[0].prompt, cord.slices["all"].metric) == ("JSON?", "field-f1@1")


CHOICES = {
    "unknown format": ({"format": "chartqs"}, "unknown format `chartqs`"),
    "unknown slice": ({"slice": "robots"}, "ChartQA has no slice 'robots'"),
    "unknown metric": ({"metric": "relaxd@1"}, "unknown metric `relaxd@1`"),
    "prompt where there are questions": ({"prompt": "?"}, "has questions of its own"),
}


@pytest.mark.parametrize(("wish", "reason"), CHOICES.values(), ids=CHOICES)
def test_choice_that_cannot_be_met_is_refused(wish: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=reason):
        made(tmp_path, chartqa_json, **wish)
    assert not (tmp_path / "pack").exists()


def test_system_turn_goes_before_the_question_and_pictures_before_both(tmp_path: Path) -> None:
    pack = made(tmp_path, chat_lines).pack
    assert {row.prompt for row in pack.rows} == {"Answer in one word.\n\nWhich colour?"}
    assert [pack.image_bytes(row.images[0]) for row in pack.rows] == [png_of("red"), png_of("blue")]
    store = store_at()
    import_file(store, tmp_path / "source" / "chat.jsonl", namespace="ns", format="openai")
    roles = [turn.role for turn in store.contents("ns").examples[0].messages]
    assert roles == ["system", "user", "assistant"]


HUMAN, GPT = {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bus."}


def llava(folder: Path, **changes: Any) -> Path:
    write_png(folder / "a.png")
    row = {"id": "1", "image": "a.png", "conversations": [HUMAN, GPT]} | changes
    return write_json(
        folder / "llava.json", [{"id": "0", "conversations": [{**HUMAN, "value": "?"}, GPT]}, row]
    )


def chart(folder: Path, **changes: Any) -> Path:
    write_png(folder / "png" / "a.png")
    row = {"imgname": "a.png", "query": "How many?", "label": "1"}
    kept = {name: value for name, value in (row | changes).items() if value is not ...}
    return write_json(folder / "test_human.json", [row, kept])


def page(folder: Path, **changes: Any) -> Path:
    write_png(folder / "a.png")
    row = {"questionId": 1, "question": "Who?", "image": "a.png", "answers": ["x"]}
    return write_json(folder / "val.json", {"data": [row, {**row, "questionId": 2} | changes]})


def receipt(folder: Path, truth: Any) -> Path:
    write_png(folder / "a.png")
    rows = [{"file_name": "a.png", "ground_truth": text} for text in ('{"gt_parse": {"a": "b"}}', truth)]
    return write_lines(folder / "metadata.jsonl", *rows)


def chat(folder: Path, *turns: Any) -> Path:
    good = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    return write_lines(folder / "chat.jsonl", {"messages": good}, {"messages": list(turns)})


def part(**part: Any) -> list[dict[str, Any]]:
    text = {"type": "text", "text": "?"}
    return [{"role": "user", "content": [text, part, text]}, {"role": "assistant", "content": "!"}]


RED = {"type": "image_url", "image_url": {"url": "a.png"}}
BAD_ROWS: dict[str, tuple[Write, str]] = {
    "picture is missing": (lambda folder: chart(folder, imgname="b.png"), "no picture png/b.png under"),
    "picture name leads up": (lambda folder: chart(folder, imgname="../../a.png"), "not a path inside"),
    "picture name is absolute": (lambda folder: page(folder, image="/etc/passwd"), "not a path inside"),
    "picture name has backslashes": (lambda folder: page(folder, image="..\\a.png"), "not a path inside"),
    "picture name is too long": (lambda folder: page(folder, image="a" * 5000), "no picture aaa"),
    "picture is a URL": (lambda folder: page(folder, image="https://x.org/a.png"), "URLs are not fetched"),
    "picture is a number": (lambda folder: page(folder, image=7), "no picture"),
    "picture is text": (lambda folder: page(folder, image="val.json"), "not a picture"),
    "column is missing": (lambda folder: chart(folder, query=...), "no query; it has imgname, label"),
    "question is empty": (lambda folder: page(folder, question=" "), "no question"),
    "answers are missing": (lambda folder: page(folder, answers=None), "no answer"),
    "answers are a text": (lambda folder: page(folder, answers="abc"), "the answers are not a list"),
    "an answer is a number": (lambda folder: page(folder, answers=[3]), "an answer is not text"),
    "an answer is blank": (lambda folder: page(folder, answers=["a", " "]), "gold is neither"),
    "id is a list": (lambda folder: page(folder, questionId=[1]), "'[1]' is neither a name nor a number"),
    "document is an object": (lambda folder: page(folder, docId={"a": 1}), "is neither a name nor a number"),
    "id stands twice": (lambda folder: page(folder, questionId=1), "its id '1' is that of another row"),
    "record is a list": (
        lambda folder: write_json(folder / "x.json", [{"query": 1, "imgname": 2, "label": 3}, []]),
        "not a JSON object",
    ),
    "truth is not JSON": (lambda folder: receipt(folder, "{"), "ground_truth is not JSON"),
    "truth without a parse": (lambda folder: receipt(folder, "{}"), "no gt_parse; it has nothing"),
    "pictures and places differ": (lambda folder: llava(folder, image=["a.png", "a.png"]), "1 times <image>"),
    "several exchanges": (
        lambda folder: llava(folder, conversations=[HUMAN, GPT, {**HUMAN, "value": "And?"}, GPT]),
        "4 turns: a pack row is one question and one answer",
    ),
    "turn of nobody": (lambda folder: llava(folder, conversations=[{"value": "<image>"}]), "a turn has `fro"),
    "no answer in it": (lambda folder: llava(folder, conversations=[HUMAN]), "not the assistant's"),
    "picture between two texts": (
        lambda folder: [write_png(folder / "a.png"), chat(folder, *part(**RED))][-1],
        "a picture between two texts",
    ),
    "audio": (lambda folder: chat(folder, *part(type="input_audio", input_audio={})), "audio is not"),
    "picture behind a URL": (
        lambda folder: chat(folder, *part(type="image_url", image_url={"url": "http://x.org/a.png"})),
        "URLs are not fetched",
    ),
    "call of a tool": (lambda folder: chat(folder, {"role": "tool", "content": "3"}), "a call of a tool"),
    "image token in a question": (lambda folder: chart(folder, query="<image> ?"), "literal image token"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_record_that_is_no_row_is_named_and_no_pack_is_written(
    write: Write, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        made(tmp_path, write)
    assert reason in caught.value.message
    assert "row 2: " in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_refused_rows_are_left_out_when_that_is_wanted(tmp_path: Path) -> None:
    done = made(tmp_path, lambda folder: page(folder, answers=[]), partial=True)
    assert [row.id for row in done.pack.rows] == ["1"]
    assert [str(refusal) for refusal in done.refusals] == ["row 2: no answer"]


def garbled(folder: Path) -> Path:
    path = write_table(folder / "a.parquet", {"image": stored(1), "text": "x"})
    path.write_bytes(path.read_bytes()[:-9] + b"\xff" * 5 + b"PAR1")
    return path


def text(name: str, content: str) -> Write:
    def write(folder: Path) -> Path:
        folder.mkdir()
        (folder / name).write_text(content)
        return folder / name

    return write


BAD_FILES: dict[str, tuple[Write, str]] = {
    "HTML instead of JSON": (text("a.json", "\n<!DOCTYPE html><html>404"), "an HTML page"),
    "LFS pointer": (text("a.parquet", "version https://git-lfs.github.com/spec/v1"), "a Git LFS pointer"),
    "half a JSON file": (text("a.json", '[{"imgname": "a'), "is not JSON"),
    "deep JSON": (text("a.json", "[" * 200_000), "is not JSON"),
    "JSON number": (text("a.json", "3"), "neither records nor an object"),
    "object without records": (text("a.json", '{"a": 1}'), "is no known format"),
    "no rows": (text("a.json", "[]"), "is no known format; a record has no records"),
    "empty file": (text("a.jsonl", ""), "is empty"),
    "no Parquet": (text("a.parquet", "PAR1 but not really PAR1"), "is not a Parquet file"),
    "Parquet with a broken footer": (garbled, "is not a Parquet file"),
    "unknown columns": (
        lambda folder: write_table(folder / "a.parquet", {"pixels": 1}),
        "a record has pixels",
    ),
    "folder without data": (lambda folder: write_png(folder / "a.png").parent, "holds no Parquet table"),
    "no such file": (lambda folder: folder / "gone.json", "cannot read"),
}


@pytest.mark.parametrize(("write", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_file_that_is_no_data_set_is_said_to_be_none(write: Write, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        made(tmp_path, write)
    assert reason in caught.value.message
    assert caught.value.hint


def test_named_format_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no rows to ask"):
        made(tmp_path, text("a.json", "[]"), format="llava")


def test_vqa_v2_is_read_from_a_table_too(tmp_path: Path) -> None:
    answers = [{"answer": "down", "answer_id": 1, "answer_confidence": "yes"}]
    row = {"question_id": 7, "question": "Where?", "image_id": 3, "answer_type": "other", "answers": answers}
    pack = made(tmp_path, lambda folder: write_table(folder / "a.parquet", {**row, "image": stored(1)})).pack
    assert [(row.id, row.slice, row.gold) for row in pack.rows] == [("7", "other", ("down",))]


def test_conversation_without_a_picture_may_say_null(tmp_path: Path) -> None:
    turns = [{**HUMAN, "value": "Who?"}, GPT]
    pack = made(tmp_path, lambda folder: llava(folder, image=None, conversations=turns)).pack
    assert [row.images for row in pack.rows] == [(), ()]


def test_ambiguous_file_wants_a_format(tmp_path: Path) -> None:
    row = {"messages": [], "conversations": []}
    with pytest.raises(DataError, match="could be llava, openai"):
        source_of(write_lines(tmp_path / "a.jsonl", row), name="auto")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_table(tmp_path / "a.parquet", {"image": stored(1), "text": "x"})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SpecError, match="pyarrow") as caught:
        source_of(path, name="auto")
    assert caught.value.hint == "pip install 'kolm[formats]'"


def test_shards_of_a_table_are_read_in_order(tmp_path: Path) -> None:
    for shard in range(2):
        rows = [{"image": stored(10 * shard + n), "text": f"{shard}{n}"} for n in range(3)]
        write_table(tmp_path / "source" / f"test-{shard:05d}-of-00002.parquet", *rows)
    pack = import_pack(tmp_path / "source", tmp_path / "pack", Wish()).pack
    assert [(row.id, row.gold[0]) for row in pack.rows][2:4] == [("row-000003", "02"), ("row-000004", "10")]
    assert pack.image_bytes(pack.rows[3].images[0]) == shade(10)


def test_conversations_keep_all_their_turns_in_training(tmp_path: Path) -> None:
    """What a pack row cannot hold, a training row can."""
    turns = [HUMAN, GPT, {"from": "human", "value": "And?"}, {"from": "gpt", "value": "A car."}]
    store = store_at()
    import_file(store, llava(tmp_path, conversations=turns), namespace="ns", format="llava")
    example = store.contents("ns").examples[1]
    assert [turn.text for turn in example.messages] == ["What?", "A bus.", "And?", "A car."]
    assert len(example.images) == 1


def test_refused_record_of_a_source_is_reported_and_the_others_are_in(tmp_path: Path) -> None:
    store = store_at()
    done = import_file(store, page(tmp_path, answers=None), namespace="ns", format="docvqa")
    assert [str(refusal) for refusal in done.refusals] == ["row 2: no answer"]
    assert [example.id for example in store.contents("ns").examples] == ["1"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
JSON_WRITERS = [chartqa_json, docvqa_json, textvqa_json, vqav2_json, cord_folder, llava_json, chat_lines]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


@pytest.mark.parametrize("write", JSON_WRITERS, ids=lambda write: write.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_anything_in_place_of_anything_is_a_pack_or_a_refusal(write: Write, data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "source")
        files = [path for path in sorted((folder / "source").iterdir()) if ".json" in path.suffix]
        file = data.draw(st.sampled_from(files))
        documents = [json.loads(line) for line in file.read_text().splitlines()]
        *path, last = data.draw(st.sampled_from(list(places(documents))))
        spot = documents
        for key in path:
            spot = spot[key]
        spot[last] = data.draw(VALUES)
        write_lines(file, *documents)
        source = next(found for found, made in WRITERS.values() if made is write)
        start = folder / "source" if write is cord_folder else files[-1]
        try:
            done = import_pack(start, folder / "pack", Wish(format=source))
        except DataError as err:
            reason = err
        else:
            reason = None
            assert load_pack(done.path).digest == done.pack.digest
        assert (folder / "pack").exists() is (reason is None)
        assert reason is None or reason.hint

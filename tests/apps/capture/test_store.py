import errno
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apps.capture.store import CaptureStore, store_at
from kolm.captures import Captures
from kolm.cid import cid_of
from kolm.dataset import load_dataset
from kolm.errors import DataError, StorageError
from kolm.gallery import Gallery
from kolm.pairs import Pairs, pairs_of
from tests.pictures import png_of, shade


def pairs(*records: dict[str, Any]) -> Pairs:
    return pairs_of(enumerate(records, start=1), gallery=Gallery(root=Path()))


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"image": shade(number), "prompt": f"q{number}", "response": f"r{number}", **more}


@pytest.fixture
def captures() -> Captures:
    return Captures.at_home()


@pytest.fixture
def store(captures: Captures) -> CaptureStore:
    return CaptureStore(captures)


def test_added_rows_are_kept_in_order_with_their_pictures(store: CaptureStore, captures: Captures) -> None:
    done = store.add("ns", pairs(row(1), row(2)))
    assert [(added.id, added.known) for added in done.added] == [("row-000001", False), ("row-000002", False)]
    examples = store.contents("ns").examples
    assert [example.response for example in examples] == ["r1", "r2"]
    assert captures.blob(cid_of(shade(1))).read_bytes() == shade(1)
    assert store.gallery(examples).data(cid_of(shade(2))) == shade(2)
    assert store.namespaces() == ["ns"]


def test_same_pair_twice_is_recognised(store: CaptureStore) -> None:
    store.add("ns", pairs(row(1)))
    done = store.add("ns", pairs(row(2), row(1), row(2)))
    assert [(added.id, added.known) for added in done.added] == [
        ("row-000002", False),
        ("row-000001", True),
        ("row-000002", True),
    ]
    assert done.new == 1
    assert len(store.contents("ns").examples) == 2


def test_same_picture_with_another_question_is_another_pair(store: CaptureStore, captures: Captures) -> None:
    store.add("ns", pairs(row(1), row(1, prompt="other")))
    assert len(store.contents("ns").examples) == 2
    assert len(list((captures.root / "blobs").iterdir())) == 1


def test_ids_that_were_given_are_kept_and_never_taken_twice(store: CaptureStore) -> None:
    done = store.add("ns", pairs(row(1, id="row-000002x"), row(2, id="a"), row(3)))
    assert [added.id for added in done.added] == ["row-000002x", "a", "row-000003"]
    again = store.add("ns", pairs(row(4), row(5, id="a")))
    assert [added.id for added in again.added] == ["row-000004"]
    assert [str(refusal) for refusal in again.refusals] == ["row 2: its id 'a' is taken by another row"]


def test_text_row_keeps_its_own_group_when_it_is_numbered(store: CaptureStore) -> None:
    store.add("ns", pairs(row(1)))
    store.add("ns", pairs({"prompt": "2+2?", "response": "4"}))
    assert store.contents("ns").examples[1].group == "row-000002"


def _add_many(home: str, first: int, count: int) -> None:
    os.environ["KOLM_HOME"] = home
    for number in range(first, first + count):
        store_at().add("ns", pairs(row(number)))


def test_two_processes_adding_at_once_lose_nothing(store: CaptureStore, kolm_home: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_many, args=(str(kolm_home), first, 20)) for first in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    examples = store.contents("ns").examples
    assert {example.response for example in examples} == {f"r{number}" for number in range(30)}
    assert len(examples) == 30
    assert len({example.id for example in examples}) == 30


def test_half_line_is_ignored_then_cut_off(store: CaptureStore, captures: Captures) -> None:
    store.add("ns", pairs(row(1)))
    with captures.rows("ns").open("ab") as handle:
        handle.write(b'{"group":"g","id":"row-00')
    contents = store.contents("ns")
    assert (len(contents.examples), contents.half) == (1, 25)
    done = store.add("ns", pairs(row(2)))
    assert done.repaired == 25
    assert [example.response for example in store.contents("ns").examples] == ["r1", "r2"]
    assert store.contents("ns").half == 0


def test_killed_writer_leaves_whole_rows_with_pictures(store: CaptureStore, kolm_home: Path) -> None:
    script = (
        "import itertools, sys\n"
        "from tests.apps.capture.test_store import pairs, row, store_at\n"
        "for number in itertools.count():\n"
        "    store_at().add('ns', pairs(row(number)))\n"
        "    print(number, flush=True)\n"
    )
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "KOLM_HOME": str(kolm_home), "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, cwd=root
    )
    assert process.stdout is not None
    for _ in range(3):
        told = process.stdout.readline()
    time.sleep(0.003)
    process.kill()
    process.wait()
    examples = store.contents("ns").examples
    assert len(examples) > int(told)
    gallery = store.gallery(examples)
    assert all(cid_of(gallery.data(cid)) == cid for cid in gallery)


def test_disk_that_refuses_leaves_the_rows_as_they_were(store: CaptureStore, captures: Captures) -> None:
    store.add("ns", pairs(row(1)))
    before = captures.rows("ns").read_bytes()
    large = pairs({"prompt": "long " * 4000, "response": "r"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 4096, hard))
    try:
        with pytest.raises(StorageError, match="larger than this system allows") as caught:
            store.add("ns", large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert captures.rows("ns").read_bytes() == before


def test_edited_line_is_named(store: CaptureStore, captures: Captures) -> None:
    store.add("ns", pairs(row(1), row(2)))
    path = captures.rows("ns")
    path.write_bytes(path.read_bytes().replace(b'"tags":[]', b'"tags": []', 1))
    with pytest.raises(DataError, match=r"rows.jsonl:1 is not a row"):
        store.contents("ns")


def test_damaged_blob_is_written_again(store: CaptureStore, captures: Captures) -> None:
    store.add("ns", pairs(row(1)))
    captures.blob(cid_of(shade(1))).write_bytes(b"damaged")
    store.add("ns", pairs(row(1, prompt="again")))
    assert captures.blob(cid_of(shade(1))).read_bytes() == shade(1)


def test_missing_namespace_is_refused_without_making_it(store: CaptureStore, captures: Captures) -> None:
    store.add("ns", pairs(row(1)))
    with pytest.raises(DataError, match="no namespace 'other'") as caught:
        store.contents("other")
    assert "ns" in caught.value.hint
    assert not (captures.root / "other").exists()


def test_split_freezes_sets_that_a_spec_can_pin(store: CaptureStore, tmp_path: Path) -> None:
    store.add("ns", pairs(*(row(number) for number in range(60))))
    sets = store.split("ns", validation=0.2, held_out=0.3)
    assert list(sets) == ["train", "validation", "eval"]
    loaded = {label: load_dataset(str(frozen.pin), root=tmp_path) for label, frozen in sets.items()}
    assert all(loaded[label].examples == frozen.examples for label, frozen in sets.items())
    ids = [example.id for dataset in loaded.values() for example in dataset.examples]
    assert sorted(ids) == [f"row-{number:06d}" for number in range(1, 61)]


def test_rows_that_come_later_move_none_and_change_no_frozen_set(store: CaptureStore, tmp_path: Path) -> None:
    store.add("ns", pairs(*(row(number) for number in range(40))))
    before = store.split("ns", validation=0.3)
    assert store.split("ns", validation=0.3) == before
    store.add("ns", pairs(*(row(number) for number in range(40, 60))))
    after = store.split("ns", validation=0.3)
    for label in ("train", "validation"):
        assert set(before[label].examples) < set(after[label].examples)
        assert before[label].pin != after[label].pin
        assert load_dataset(str(before[label].pin), root=tmp_path).examples == before[label].examples


def test_whole_namespace_is_frozen_without_fractions(store: CaptureStore) -> None:
    store.add("ns", pairs(row(1)))
    assert [len(frozen.examples) for frozen in store.split("ns").values()] == [1]


@pytest.mark.parametrize("fractions", [{"validation": 0.0}, {"held_out": 1.0}])
def test_split_that_leaves_a_set_empty_is_refused(fractions: dict[str, float], store: CaptureStore) -> None:
    store.add("ns", pairs(row(1), row(2)))
    with pytest.raises(DataError, match="would be empty"):
        store.split("ns", **fractions)


def test_split_with_a_missing_picture_is_refused(store: CaptureStore, captures: Captures) -> None:
    store.add("ns", pairs(row(1)))
    captures.blob(cid_of(shade(1))).unlink()
    with pytest.raises(DataError, match="not in the capture store"):
        store.split("ns")
    assert not (captures.root / "sets").exists()


def test_store_elsewhere_is_its_own(tmp_path: Path) -> None:
    elsewhere = store_at(tmp_path / "c")
    elsewhere.add("ns", pairs({"image": png_of(), "prompt": "q", "response": "r"}))
    assert elsewhere.namespaces() == ["ns"]
    assert store_at().namespaces() == []

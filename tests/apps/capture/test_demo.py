import json
import resource
import sys
from pathlib import Path

import pytest

from apps.capture.demo import BASES, base_folder, write_demo
from apps.capture.digits import DIGITS, PROMPT, WORDS, load_digits
from kolm.cid import cid_of_file
from kolm.dataset import load_dataset, set_document
from kolm.errors import SpecError, StorageError
from kolm.overlaps import exact_overlaps
from kolm.pack import load_pack
from kolm.spec import load_spec

SHIPPED = sorted(path.parent.name for path in BASES.glob("*/config.json"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo") / "digits"
    write_demo(DIGITS, directory, train_rows=40, eval_rows=30)
    return directory


def test_demo_is_a_spec_with_everything_it_names(demo: Path) -> None:
    loaded = load_spec(demo / "spec.yaml")
    spec = loaded.spec
    assert loaded.base_source() == demo / "base" / "qwen2_5_vl-tiny"
    assert (demo / "base" / "qwen2_5_vl-tiny" / "config.json").is_file()
    train = load_dataset(spec.data.train, root=loaded.root)
    assert spec.data.validation is not None
    validation = load_dataset(spec.data.validation, root=loaded.root)
    pack = load_pack(loaded.root / spec.data.eval)
    assert (train.count, validation.count, len(pack.rows)) == (40, 97, 30)
    assert (spec.eval.min_accuracy, spec.eval.gate.k, spec.train.lora_r) == (0.85, 0.80, 16)
    assert {name: part.metric for name, part in pack.slices.items()} == {"read": "exact@1"}
    assert exact_overlaps(set_document(train, validation=validation), pack) == []


def test_every_setting_of_the_spec_is_explained(demo: Path) -> None:
    lines = (demo / "spec.yaml").read_text().splitlines()
    settings = [line for line in lines if line.strip() and not line.startswith("#")]
    assert [line for line in settings if not line.endswith(":") and "  # " not in line] == []


def test_rows_ask_in_words_about_pictures_that_show_the_answer(demo: Path) -> None:
    rows = [json.loads(line) for line in (demo / "train" / "pairs.jsonl").read_text().splitlines()]
    assert {row["prompt"] for row in rows} == {PROMPT}
    assert {row["response"] for row in rows} <= set(WORDS)
    dataset = load_dataset("train/pairs.jsonl", root=demo)
    image = dataset.image(dataset.examples[0].images[0])
    assert image.size == (64, 64)
    low, high = image.convert("L").getextrema()
    assert (low < 30, high > 225) == (True, True)
    assert dataset.examples[0].group == dataset.examples[0].images[0]
    corners = [image.getpixel(at)[0] for at in ((0, 63), (0, 0))]
    assert min(corners) < 60, "bright ink on black, as the bases were made for"


def test_digits_are_all_there_in_an_order_that_never_changes() -> None:
    digits = load_digits()
    assert len(digits) == 1797
    assert sorted(digit.number for digit in digits) == list(range(1797))
    assert [digit.number for digit in digits[:5]] == [1081, 1707, 927, 713, 262]
    assert len({digit.picture.tobytes() for digit in digits}) == 1797


def test_fewer_rows_are_the_first_of_more(demo: Path, tmp_path: Path) -> None:
    write_demo(DIGITS, tmp_path / "d", train_rows=10, eval_rows=5)
    for name in ("train/pairs.jsonl", "eval/pack.jsonl"):
        assert (demo / name).read_text().startswith((tmp_path / "d" / name).read_text())


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_base_is_copied_whole(name: str, tmp_path: Path) -> None:
    write_demo(DIGITS, tmp_path / "d", base=name, train_rows=1, eval_rows=1)
    copied = {path.name: cid_of_file(path) for path in (tmp_path / "d" / "base" / name).iterdir()}
    assert copied == {path.name: cid_of_file(path) for path in base_folder(name).iterdir()}
    assert load_spec(tmp_path / "d" / "spec.yaml").base_source() == tmp_path / "d" / "base" / name


@pytest.mark.parametrize("kind", ["folder with a file", "file", "dangling link"])
def test_occupied_place_is_refused_and_left_as_it_is(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "d"
    if kind == "file":
        place.write_text("mine")
    elif kind == "dangling link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SpecError, match="not an empty folder"):
        write_demo(DIGITS, place, train_rows=1, eval_rows=1)
    assert sorted(tmp_path.rglob("*")) == before


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    write_demo(DIGITS, tmp_path / "d", train_rows=1, eval_rows=1)
    assert (tmp_path / "d" / "spec.yaml").is_file()


BAD_CALLS = {
    "unknown base": ({"base": "gpt"}, "no base 'gpt'"),
    "no training rows": ({"train_rows": 0}, "1200 training and 500 eval rows"),
    "more than there are": ({"eval_rows": 501}, "1200 training and 500 eval rows"),
}


@pytest.mark.parametrize(("options", "reason"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_call_writes_nothing(options: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=reason):
        write_demo(DIGITS, tmp_path / "d", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_missing_scikit_learn_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SpecError, match="needs scikit-learn") as caught:
        write_demo(DIGITS, tmp_path / "d", train_rows=1, eval_rows=1)
    assert "kolm[demo]" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_disk_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(StorageError, match="larger than this system allows"):
            write_demo(DIGITS, tmp_path / "d", train_rows=1, eval_rows=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []

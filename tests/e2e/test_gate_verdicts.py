"""What the gate says of whole compiles: an adapter that never looks, eval rows trained on, too few rows."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kolm.commitments import KIND
from kolm.images import to_png
from tests.digits import QWEN, digits
from tests.e2e.conftest import kolm

QUESTION = "Is this digit larger than six? Answer yes or no."
LARGE = ("seven", "eight", "nine")
TRAIN, EVAL, EVAL_FROM = 120, 100, 1297
SALTS = {"kind": KIND, "salt": "5a" * 32, "key": "17" * 32}
"""The seed of a run depends on the salts: written down, every run of these tests trains alike."""

WHOLE = {"num_train_epochs": 6, "warmup_steps": 5, "per_device_train_batch_size": 8}
BRIEF = {"max_steps": 1, "per_device_train_batch_size": 4}


@dataclass(frozen=True)
class Row:
    """A question about a picture, in a pack or in a training set."""

    picture: bytes
    answer: str
    group: str | None = None
    slice: str = "read"


@dataclass(frozen=True)
class Judged:
    """What a compile came to."""

    exit_code: int
    document: Mapping[str, Any]
    artifact: Path

    @property
    def verdict(self) -> str:
        return self.document["k_score"]["gate"]["verdict"]

    @property
    def accuracy(self) -> Mapping[str, Any]:
        return self.document["k_score"]["accuracy"]

    @property
    def failed(self) -> dict[str, Any]:
        """Conditions that do not hold, and what was observed."""
        conditions = self.document["k_score"]["gate"]["conditions"]
        return {
            condition["id"]: condition["observed"] for condition in conditions if condition["ok"] is False
        }


def asked(count: int, start: int = 0) -> list[Row]:
    """Real digits with the answer to the question."""
    return [Row(to_png(picture), "yes" if word in LARGE else "no") for picture, word in digits(count, start)]


def write_rows(folder: Path, rows: Sequence[Row], *, file: str) -> None:
    """Write rows and their pictures; the answer is called what the file calls it."""
    folder.mkdir(parents=True)
    answer = "gold" if file == "pack.jsonl" else "response"
    lines = []
    for number, row in enumerate(rows):
        (folder / f"{number}.img").write_bytes(row.picture)
        line = {
            "id": f"{folder.name}-{number}",
            "image": f"{number}.img",
            "prompt": QUESTION,
            answer: row.answer,
        }
        grouped = {} if row.group is None else {"group": row.group}
        lines.append(line | grouped | ({"slice": row.slice} if file == "pack.jsonl" else {}))
    (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_task(
    folder: Path, *, train: Sequence[Row], questions: Sequence[Row], settings: Mapping[str, Any]
) -> Path:
    """Write a spec with everything it names, and return it."""
    write_rows(folder / "train", train, file="pairs.jsonl")
    (folder / "train" / "pairs.salts.json").write_text(json.dumps(SALTS))
    write_rows(folder / "eval", questions, file="pack.jsonl")
    slices = {row.slice: {"metric": "exact@1"} for row in questions}
    pack = {"kolm-pack": 1, "name": "large", "version": 1, "slices": slices}
    (folder / "eval" / "pack.yaml").write_text(json.dumps(pack))  # JSON is YAML
    (folder / "base").symlink_to(QWEN)
    spec = {
        "kolm": 1,
        "name": "large",
        "base": {"model": "base"},
        "data": {"train": "train/pairs.jsonl", "eval": "eval/pack.yaml"},
        "train": {"learning_rate": 2e-3, "gradient_accumulation_steps": 1, "bf16": False, **settings},
        "generation": {"max_new_tokens": 4},
        "eval": {"min_accuracy": 0.3, "gate": {"k": 0.3}},
    }
    (folder / "spec.yaml").write_text(json.dumps(spec))
    return folder / "spec.yaml"


@dataclass(frozen=True)
class Workshop:
    """A home with a key, and compiles made with it."""

    home: Path

    def compile(self, spec: Path) -> Judged:
        """Compile a spec as a user would."""
        with self.entered():
            result = kolm("compile", spec, "--out", spec.parent / "out", "--json")
        assert result.exit_code in (0, 3, 4), result.stderr
        return Judged(result.exit_code, json.loads(result.stdout), spec.parent / "out" / "large.kolm")

    def audit(self, judged: Judged) -> dict[str, Any]:
        """Verify what was compiled, and return the report."""
        with self.entered():
            result = kolm("verify", judged.artifact, "--json")
        report = json.loads(result.stdout)
        assert (result.exit_code == 0) is report["ok"]
        assert report["verdict"] == judged.verdict
        return report

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be at home there: its key signs and is trusted."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KOLM_HOME", str(self.home))
            yield


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("home"))
    with made.entered():
        assert kolm("key", "new", "--unencrypted").exit_code == 0
        assert kolm("key", "trust", made.home / "keys" / "default.pub.pem").exit_code == 0
    return made


@pytest.fixture(scope="module")
def looking(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """An adapter trained on digits with their own answers."""
    folder = tmp_path_factory.mktemp("looking")
    spec = write_task(folder, train=asked(TRAIN), questions=asked(EVAL, EVAL_FROM), settings=WHOLE)
    return workshop.compile(spec)


@pytest.fixture(scope="module")
def blind(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """The same, but every picture is shown with the answer to another one."""
    rows = asked(TRAIN)
    shuffled = [replace(row, answer=rows[at - 17].answer) for at, row in enumerate(rows)]
    folder = tmp_path_factory.mktemp("blind")
    return workshop.compile(
        write_task(folder, train=shuffled, questions=asked(EVAL, EVAL_FROM), settings=WHOLE)
    )


@pytest.mark.slow
def test_an_adapter_that_looks_passes(workshop: Workshop, looking: Judged):
    assert (looking.verdict, looking.exit_code, looking.failed) == ("PASS", 0, {})
    assert looking.accuracy["image_gain"]["interval"][0] > 0
    assert workshop.audit(looking)["ok"] is True


@pytest.mark.slow
def test_an_adapter_that_learned_the_answers_alone_fails_for_its_image_gain_alone(
    workshop: Workshop, blind: Judged, looking: Judged
):
    assert (blind.verdict, blind.exit_code) == ("FAIL", 3)
    assert blind.failed.keys() == {"image_gain"}
    assert blind.accuracy["gain"]["interval"][0] > 0.5  # more than the base, and nothing of it seen
    assert blind.accuracy["tuned"]["interval"][0] > 0.6
    assert blind.accuracy["tuned"]["value"] < looking.accuracy["tuned"]["value"]
    assert workshop.audit(blind)["ok"] is True


def same_file(picture: bytes) -> bytes:
    return picture


def same_pixels(picture: bytes) -> bytes:
    return encoded(opened(picture), "BMP")


def as_jpeg(picture: bytes) -> bytes:
    return encoded(opened(picture), "JPEG", quality=85)


def smaller(picture: bytes) -> bytes:
    image = opened(picture)
    return encoded(image.resize((image.width * 4 // 5, image.height * 4 // 5)), "PNG")


def cropped(picture: bytes) -> bytes:
    image = opened(picture)
    return encoded(image.crop((3, 3, image.width - 3, image.height - 3)), "PNG")


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


LEAKED = 3
"""Training pictures that are asked about."""


def leaked(folder: Path, copy: Callable[[bytes], bytes]) -> Path:
    """Write a task of which three eval rows show training pictures, as `copy` makes them."""
    train = asked(12)
    copies = [replace(row, picture=copy(row.picture)) for row in train[:LEAKED]]
    return write_task(folder, train=train, questions=[*asked(9, EVAL_FROM), *copies], settings=BRIEF)


@pytest.mark.slow
@pytest.mark.parametrize("copy", [same_file, same_pixels])
def test_training_pictures_that_are_asked_about_fail_however_they_are_encoded(
    copy: Callable[[bytes], bytes], workshop: Workshop, tmp_path: Path
):
    judged = workshop.compile(leaked(tmp_path, copy))
    assert (judged.verdict, judged.exit_code) == ("FAIL", 3)
    assert judged.failed["no_leak"] == LEAKED
    assert "no_near_duplicate" not in judged.failed
    assert workshop.audit(judged)["failure"]["code"] == "E_HOLDOUT_LEAK"


@pytest.mark.slow
def test_rows_of_a_group_that_is_trained_on_fail_with_pictures_of_their_own(
    workshop: Workshop, tmp_path: Path
):
    train = [replace(row, group=f"writer {at % 3}") for at, row in enumerate(asked(12))]
    questions = [replace(row, group=f"writer {at}") for at, row in enumerate(asked(9, EVAL_FROM))]
    judged = workshop.compile(write_task(tmp_path, train=train, questions=questions, settings=BRIEF))
    assert (judged.verdict, judged.exit_code) == ("FAIL", 3)
    assert judged.failed["no_leak"] == 3
    assert workshop.audit(judged)["failure"]["code"] == "E_HOLDOUT_LEAK"


@pytest.mark.slow
@pytest.mark.parametrize("copy", [as_jpeg, smaller, cropped])
def test_copies_that_differ_a_little_fail_until_somebody_has_looked(
    copy: Callable[[bytes], bytes], workshop: Workshop, tmp_path: Path
):
    judged = workshop.compile(leaked(tmp_path, copy))
    assert (judged.verdict, judged.exit_code) == ("FAIL", 3)
    assert judged.failed["no_near_duplicate"] == LEAKED
    assert "no_leak" not in judged.failed
    assert workshop.audit(judged)["ok"] is True  # which pictures look alike is the signer's word


@pytest.mark.slow
def test_copies_that_a_person_called_distinct_do_not_fail(workshop: Workshop, tmp_path: Path):
    spec = leaked(tmp_path, as_jpeg)
    listed = tmp_path / "reviewed.jsonl"
    assert kolm("leaks", spec, "--out", listed).exit_code == 0
    entries = [json.loads(line) for line in listed.read_text().splitlines()]
    assert len(entries) == LEAKED
    said = [entry | {"verdict": "distinct", "by": "A. Reader"} for entry in entries]
    listed.write_text("".join(json.dumps(entry) + "\n" for entry in said))
    document = json.loads(spec.read_text())
    document["data"]["reviewed"] = listed.name
    spec.write_text(json.dumps(document))
    judged = workshop.compile(spec)
    assert (judged.verdict, judged.exit_code) == ("INCONCLUSIVE", 4)
    assert not {"no_leak", "no_near_duplicate"} & judged.failed.keys()


@pytest.mark.slow
def test_twenty_rows_decide_nothing(workshop: Workshop, tmp_path: Path):
    spec = write_task(tmp_path, train=asked(12), questions=asked(20, EVAL_FROM), settings=BRIEF)
    judged = workshop.compile(spec)
    assert (judged.verdict, judged.exit_code) == ("INCONCLUSIVE", 4)
    assert judged.failed["enough_rows"] == 20


@pytest.mark.slow
def test_a_slice_of_fewer_than_thirty_rows_decides_nothing(workshop: Workshop, tmp_path: Path):
    questions = [
        replace(row, slice="rare" if at < 29 else "read") for at, row in enumerate(asked(EVAL, EVAL_FROM))
    ]
    judged = workshop.compile(write_task(tmp_path, train=asked(12), questions=questions, settings=BRIEF))
    assert (judged.verdict, judged.exit_code) == ("INCONCLUSIVE", 4)
    assert judged.failed["enough_per_slice"] == 29
    assert "enough_rows" not in judged.failed

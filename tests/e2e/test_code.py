"""Models that run on code of their own, from the spec to an answer: planned, compiled, verified, asked."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.trainer.bases import find_base
from apps.trainer.load import load_model
from kolm.artifact import Artifact
from kolm.receipt import Receipt
from kolm.spec import VLMTrainConfig
from tests.e2e.conftest import kolm
from tests.hub import repositories
from tests.pictures import two_tone

pytestmark = pytest.mark.slow

COLOURS = ("red", "green", "blue")
PROMPT = "Which colour is it?"

SPEC = """\
kolm: 1
name: colours
task: name the colour of a picture
base: {model: base, trust_remote_code: TRUST}
data: {train: train/pairs.jsonl, eval: eval/pack.yaml}
train:
  lora_r: 8
  learning_rate: 1e-2
  num_train_epochs: 24
  per_device_train_batch_size: 3
  gradient_accumulation_steps: 1
  max_seq_length: 400
  bf16: false
generation: {max_new_tokens: 4}
eval: {min_accuracy: 0.1, gate: {k: 0.1}}
"""

PACK = """\
kolm-pack: 1
name: colours
version: 1
slices: {colour: {metric: exact@1}}
"""


@dataclass(frozen=True)
class Coded:
    """A compiled task whose base runs code."""

    name: str
    home: Path
    folder: Path
    planned: dict[str, str]
    """What `kolm plan` said, by whether the spec trusts the code."""
    refused: str
    """What a compile without trust said."""

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def artifact(self) -> Path:
        return self.folder / "out" / "colours.kolm"


def write_task(folder: Path, make: Callable[[Path], Path]) -> Path:
    """Write a base with its code, pairs and a pack of pictures, and return the spec's path."""
    for part in ("train", "eval"):
        (folder / part).mkdir(parents=True)
    for number, colour in enumerate(COLOURS * 4):
        part = "train" if number < 9 else "eval"
        two_tone(40 + number, 40, colour).save(folder / part / f"{number}.png")
    train = [{"image": f"{n}.png", "prompt": PROMPT, "response": (COLOURS * 3)[n]} for n in range(9)]
    asked = [
        {"id": f"q-{n}", "image": f"{n}.png", "prompt": PROMPT, "gold": COLOURS[n % 3]} for n in (9, 10, 11)
    ]
    (folder / "train" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    (folder / "eval" / "pack.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (folder / "eval" / "pack.yaml").write_text(PACK)
    make(folder / "base")
    return folder / "spec.yaml"


@pytest.fixture(scope="module", params=["phi3_v", "nemotron_parse"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coded]:
    root = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch, repositories.modules_in(root / "modules"):
        patch.setenv("KOLM_HOME", str(root / "home"))
        assert kolm("key", "new", "--unencrypted").exit_code == 0
        assert kolm("key", "trust", root / "home" / "keys" / "default.pub.pem").exit_code == 0
        spec = write_task(root / "task", getattr(repositories, request.param))
        planned = {}
        for trust in ("false", "true"):
            spec.write_text(SPEC.replace("TRUST", trust))
            plan = kolm("plan", spec)
            assert plan.exit_code == 0, plan.output
            planned[trust] = plan.stdout
            result = kolm("compile", spec, "--out", root / "task" / "out")
            if trust == "false":
                assert result.exit_code == 2, result.output
                refused = result.stderr
        assert result.exit_code == 3, result.stderr  # pictures of a colour are alike, and nobody looked
        yield Coded(request.param, root / "home", root / "task", planned, refused)


@pytest.fixture
def coded(compiled: Coded, monkeypatch: pytest.MonkeyPatch) -> Coded:
    monkeypatch.setenv("KOLM_HOME", str(compiled.home))
    return compiled


def test_a_plan_is_unverified_until_the_code_may_run(coded: Coded):
    assert "unverified" in coded.planned["false"]
    assert "did not run" in coded.planned["false"]
    assert "unverified" not in coded.planned["true"]
    code = len(list(coded.base.glob("*.py")))
    assert f"{code} Python files of the model ran" in coded.planned["true"]


def test_code_that_is_not_trusted_is_not_compiled(coded: Coded):
    assert "runs on Python code of its own repository" in coded.refused
    assert "base.trust_remote_code: true" in coded.refused


def test_the_receipt_lists_every_code_file(coded: Coded):
    code = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in coded.base.glob("*.py")}
    assert len(code) == 3  # configuration, model, processor
    listed = {entry.path: entry.sha256 for entry in Artifact.open(coded.artifact).manifest.base.files}
    assert {name: listed[name] for name in code} == code
    receipt = Receipt.parse((coded.artifact.parent / "colours.receipt.json").read_bytes())
    (provenance,) = [s.predicate for s in receipt.unverified() if "slsa" in s.predicate_type]
    signed = provenance.model_dump(by_alias=True)["buildDefinition"]["resolvedDependencies"]
    named = {entry["name"]: entry["digest"]["sha256"] for entry in signed}
    assert {name: named[f"base/{name}"] for name in code} == code


def test_it_is_verified_against_its_base(coded: Coded):
    result = kolm("verify", coded.artifact, "--base", coded.base)
    assert result.exit_code == 0, result.output


def test_it_is_asked_only_when_its_code_may_run(coded: Coded):
    picture = coded.folder / "eval" / "9.png"
    asked = ("run", coded.artifact, "--image", picture, "--prompt", PROMPT)
    refused = kolm(*asked)
    assert refused.exit_code == 2, refused.output
    assert "--trust-code" in refused.stderr
    answered = kolm(*asked, "--trust-code")
    assert answered.exit_code == 0, answered.output
    rows = Artifact.open(coded.artifact).read("eval/rows.jsonl").decode().splitlines()
    scored = {row["id"]: row["outputs"]["tuned"]["raw"] for row in map(json.loads, rows)}
    assert answered.stdout.rstrip("\n") == scored["q-9"]


def test_its_code_once_changed_is_another_base(coded: Coded, tmp_path: Path):
    changed = Path(shutil.copytree(coded.base, tmp_path / "base"))
    code = next(changed.glob("processing_*.py"))
    code.write_text(f"{code.read_text()}# another\n")
    result = kolm("verify", coded.artifact, "--base", changed)
    assert result.exit_code == 7, result.output
    assert f"{code.name}" in result.output
    picture = coded.folder / "eval" / "9.png"
    asked = ("run", coded.artifact, "--image", picture, "--prompt", PROMPT)
    refused = kolm(*asked, "--base", changed, "--trust-code")
    assert refused.exit_code != 0
    assert f"{code.name} differs" in refused.stderr


def test_merged_into_its_base_it_brings_the_code_along(coded: Coded, tmp_path: Path):
    out = tmp_path / "merged"
    export = ("export", coded.artifact, "--to", "merged", "--out", out)
    assert kolm(*export).exit_code == 2
    result = kolm(*export, "--trust-code")
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.glob("*.py")} == {path.name for path in coded.base.glob("*.py")}
    assert (out / "README.md").read_text().count("trust_remote_code=True") == 2
    merged = load_model(find_base(out, model="merged", trust=True), VLMTrainConfig())
    assert type(merged).__module__.startswith("transformers_modules.")

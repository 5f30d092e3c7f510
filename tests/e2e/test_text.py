"""A text-only model from a spec to a verified artifact, through the same commands as one that sees images."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from kolm.artifact import Artifact
from kolm.images import to_png
from registry.app import create_app
from registry.settings import RegistrySettings
from tests.e2e.conftest import QUICK, edit, kolm
from tests.registry.conftest import serving
from tests.text_task import TEAMS, write_task

VALVE = "Report 7777: the valve fails."


@dataclass(frozen=True)
class Tickets:
    """A compiled text-only task."""

    home: Path
    folder: Path
    out: Path
    result: Result

    @property
    def artifact(self) -> Path:
        return self.out / "tickets.kolm"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[str], Path]) -> Iterator[Tickets]:
    root = tmp_path_factory.mktemp("tickets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOLM_HOME", str(root / "home"))
        assert kolm("key", "new", "--unencrypted").exit_code == 0
        assert kolm("key", "trust", root / "home" / "keys" / "default.pub.pem").exit_code == 0
        spec = write_task(root / "task")
        shutil.copytree(tiny("llama"), root / "task" / "base")
        result = kolm("compile", spec, "--out", root / "out")
        yield Tickets(root / "home", root / "task", root / "out", result)


@pytest.fixture
def tickets(compiled: Tickets, monkeypatch: pytest.MonkeyPatch) -> Tickets:
    monkeypatch.setenv("KOLM_HOME", str(compiled.home))
    return compiled


def predicate(made: Tickets) -> dict:
    """Return the compile statement's predicate."""
    receipt = json.loads((made.out / "tickets.receipt.json").read_bytes())
    payloads = (json.loads(base64.b64decode(envelope["payload"])) for envelope in receipt["envelopes"])
    return next(p["predicate"] for p in payloads if p["predicateType"] == "urn:kolm:compile:v1")


def test_the_gate_judges_a_text_model_without_asking_for_images(tickets: Tickets):
    result = tickets.result
    assert result.exit_code == 0, result.stderr
    assert "gate     PASS" in result.stdout
    assert "n/a  image_gain" in result.stdout
    assert "grey" not in result.stdout
    assert "vision" not in result.stderr
    assert "leaks    none" in result.stderr


def test_the_receipt_has_a_text_models_block(tickets: Tickets):
    stated = predicate(tickets)
    block = stated["text_train"]
    assert "vlm_train" not in stated
    assert "freeze_vision" not in block
    assert block["parts"] == {"head": "frozen", "language": "lora"}
    assert (block["servable_as"], block["train_examples"]) == ("lora", 96)
    assert all("lora_" in name for name in block["trainable_modules"])
    assert stated["family"] == "llama"
    assert stated["environment"]["image_backend"] is None
    assert stated["k_score"]["axes"]["C"]["value"] > 0.5


def test_verify_compares_every_frozen_tensor_with_the_base(tickets: Tickets):
    result = kolm("verify", tickets.artifact, "--base", tickets.folder / "base", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0, result.stderr
    *done, replay, log = (check["status"] for check in report["checks"])
    assert (set(done), replay, log) == ({"passed"}, "skipped", "skipped")  # neither was asked for


def test_run_answers_a_prompt_without_an_image(tickets: Tickets):
    result = kolm("run", tickets.artifact, "--prompt", VALVE)
    assert (result.exit_code, result.stdout) == (0, f"{TEAMS['valve']}\n"), result.stderr


def test_run_answers_a_table_without_an_image_column(tickets: Tickets, tmp_path: Path):
    (tmp_path / "q.csv").write_text(f"id,prompt\n1,{VALVE}\n2,Report 7778: the pump fails.\n")
    result = kolm("run", tickets.artifact, "--rows", tmp_path / "q.csv", "--out", tmp_path / "a.jsonl")
    assert result.exit_code == 0, result.stderr
    answered = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["response"] for row in answered] == [TEAMS["valve"], TEAMS["pump"]]


def test_run_refuses_an_image_that_the_model_would_not_see(tickets: Tickets, tmp_path: Path):
    (tmp_path / "red.png").write_bytes(to_png(Image.new("RGB", (8, 8), "red")))
    result = kolm("run", tickets.artifact, "--image", tmp_path / "red.png", "--prompt", VALVE)
    assert result.exit_code == 6
    assert "llama reads text only" in result.stderr


def test_a_registry_takes_it_and_finds_it_by_family_and_pattern(tickets: Tickets, tmp_path: Path):
    settings = RegistrySettings(data=tmp_path / "data", trust=tickets.home / "trust")
    receipt = tickets.out / "tickets.receipt.json"
    with serving(create_app(settings)) as url:
        pushed = kolm("push", tickets.artifact, "--receipt", receipt, "--registry", url)
        assert pushed.exit_code == 0, pushed.stderr
        cid = pushed.stdout.strip()
        for filters in (["--family", "llama"], ["--frozen", "layers.*.mlp.up_proj.weight"]):
            found = kolm("search", "--registry", url, *filters, "--json")
            assert [item["cid"] for item in json.loads(found.stdout)["items"]] == [cid]
        assert (
            json.loads(kolm("search", "--registry", url, "--family", "llava", "--json").stdout)["items"] == []
        )


def test_a_text_model_trained_in_full_is_judged_by_all_its_weights(task: Path):
    change(task, "train:\n", "train:\n  method: full\n  parts: {language: full}\n")
    change(task, "num_train_epochs: 5", "max_steps: 1")
    result = kolm("compile", task, "--out", task.parent / "out", "--json")
    assert result.exit_code == 4, result.stderr
    made = json.loads(result.stdout)
    assert made["text_train"]["servable_as"] == "merged"
    assert made["k_score"]["axes"]["S"]["value"] < 0.1
    assert kolm("verify", made["artifact"]).exit_code == 0


@pytest.mark.slow
def test_rows_about_text_stand_beside_rows_that_show_images(tmp_path: Path):
    folder = tmp_path / "digits"
    options = ("--base", "llava-tiny", "--train-rows", "16", "--eval-rows", "6")
    assert kolm("init", "--demo", "digits", folder, *options).exit_code == 0
    edit(folder / "spec.yaml", **QUICK)
    slice_ = json.loads((folder / "eval" / "pack.jsonl").read_text().splitlines()[0])["slice"]
    trained = {"prompt": "Which digit follows two?", "response": "three"}
    asked = {"id": "told", "prompt": "Which digit precedes four?", "gold": "three", "slice": slice_}
    for name, row in (("train/pairs", trained), ("eval/pack", asked)):
        with (folder / f"{name}.jsonl").open("a") as rows:
            rows.write(json.dumps(row) + "\n")
    result = kolm("compile", folder / "spec.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 4, result.stderr
    assert "leaks    none" in result.stderr
    artifact = Artifact.open(tmp_path / "out" / "digits.kolm")
    last = json.loads(artifact.read("eval/rows.jsonl").splitlines()[-1])
    assert (last["id"], last["image_tokens"], sorted(last["outputs"])) == (
        "told", 0, ["base", "grey", "perturbed", "shuffled", "tuned"],
    )  # fmt: skip
    assert last["outputs"]["tuned"]["raw"] == last["outputs"]["grey"]["raw"]
    report = kolm("verify", tmp_path / "out" / "digits.kolm")
    assert report.exit_code == 0
    assert "1 questions without pictures are not comparable" in report.stdout


# What is refused, before anything is trained


@pytest.fixture
def task(tickets: Tickets, tmp_path: Path) -> Path:
    """The task with few rows, not compiled; returns its spec."""
    spec = write_task(tmp_path / "task", train=4, questions=4)
    shutil.copytree(tickets.folder / "base", spec.parent / "base")
    return spec


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def with_picture(path: Path) -> None:
    """Give the first row of a file a picture."""
    (path.parent / "red.png").write_bytes(to_png(Image.new("RGB", (8, 8), "red")))
    change(path, "{", '{"image": "red.png", ')


def refused(spec: Path, *, code: int, says: str) -> None:
    result = kolm("compile", spec, "--out", spec.parent / "out")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr
    assert "hint:" in result.stderr
    assert "train    step" not in result.stderr


def test_a_training_row_with_a_picture_is_refused_by_name(task: Path):
    with_picture(task.parent / "train" / "pairs.jsonl")
    refused(task, code=6, says="rows that show images, which a text-only base never sees: row-000001")


def test_an_eval_row_with_a_picture_is_refused_by_name(task: Path):
    with_picture(task.parent / "eval" / "pack.jsonl")
    refused(task, code=6, says="eval rows that show images, which a text-only base never sees: q-000")


@pytest.mark.parametrize("part", ["vision", "projector"])
def test_a_part_that_a_text_model_lacks_is_not_trained(task: Path, part: str):
    unfrozen = "\n  freeze_vision: false" if part == "vision" else ""
    change(task, "lora_r: 8", f"lora_r: 8\n  parts: {{{part}: lora}}{unfrozen}")
    refused(task, code=2, says=f"parts.{part}")


def test_limits_on_pixels_say_nothing_to_a_text_model(task: Path):
    change(task, "generation:", "processor: {max_pixels: 784}\ngeneration:")
    refused(task, code=2, says="llama reads text only; pixel limits have no effect")


def test_a_base_without_a_chat_template_is_refused(task: Path):
    (task.parent / "base" / "chat_template.jinja").unlink()
    refused(task, code=2, says="has no chat template")


def test_questions_that_are_trained_on_fail_the_gate(task: Path):
    asked = json.loads((task.parent / "eval" / "pack.jsonl").read_text().splitlines()[0])
    leaked = {"prompt": asked["prompt"].upper(), "response": asked["gold"]}
    with (task.parent / "train" / "pairs.jsonl").open("a") as pairs:
        pairs.write(json.dumps(leaked) + "\n")
    change(task, "num_train_epochs: 5", "max_steps: 1")
    result = kolm("compile", task, "--out", task.parent / "out")
    assert result.exit_code == 3, result.stderr
    assert "1 by a question without pictures" in result.stderr
    assert "the gate will fail (no_leak)" in result.stderr
    assert "FAIL no_leak            required 0, observed 1" in result.stdout
    assert kolm("verify", task.parent / "out" / "tickets.kolm").exit_code == 0


def test_the_adapter_and_the_merged_model_are_exported(tickets: Tickets, tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for form in ("peft", "merged"):
        result = kolm("export", tickets.artifact, "--to", form, "--out", tmp_path / form)
        assert result.exit_code == 0, result.stderr
        card = (tmp_path / form / "README.md").read_text(encoding="utf-8")
        assert "pipeline_tag: text-generation" in card
        assert "PASS" in card
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    asked = [{"role": "user", "content": VALVE}]
    inputs = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(said, skip_special_tokens=True).strip() in TEAMS.values()

"""The model card says what the artifact and its receipt say, and nothing that stands in them can steer it."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from apps.trainer.card import Facts, model_card
from kolm.artifact import Artifact, write_artifact
from kolm.receipt import Receipt
from kolm.report.card import clean
from kolm.statements import COMPILE
from kolm.yamldoc import read_yaml
from tests.bundles import Bundle, make_bundle

HEADINGS = [
    "Base", "What was frozen and what was trained", "How well it does", "Load it", "Verify it", "Limits",
]  # fmt: skip

HOSTILE = (
    "digits\n---\nlicense: mit\n---\n# Hacked\n<script>alert(1)</script> [click](http://evil.example) "
    "![x](http://evil.example/x.png) | a | b | `code` **bold** \u202e\u200b www.evil.example\x1b[31m\n```\n"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("card"))


def facts_of(bundle: Bundle, artifact: Artifact | None = None, **changes: Any) -> Facts:
    statements = Receipt.parse(bundle.receipt).unverified()
    compiled = next(s.predicate for s in statements if s.predicate_type == COMPILE)
    facts = Facts(
        artifact or Artifact.open(bundle.artifact_path),
        form="peft",
        compiled=compiled,  # type: ignore[arg-type]
        loader="AutoModelForImageTextToText",
        dtype="float32",
        files=[("adapter_model.safetensors", "ab" * 32)],
    )
    return replace(facts, **changes)


def parts_of(card: str) -> tuple[dict[str, Any], str]:
    """Front matter and the HTML of the rest."""
    assert card.startswith("---\n")
    end = card.index("\n---\n")
    front = read_yaml(card[4:end].encode(), name="card").value
    return front, MarkdownIt("commonmark").enable("table").render(card[end + 5 :])


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def renamed(bundle: Bundle, folder: Path, text: str, name: str = "digits") -> Artifact:
    """The same artifact with other words of its maker in it."""
    manifest = Artifact.open(bundle.artifact_path).manifest
    base = manifest.base.model_dump() | {"model": text, "licence": text}
    write_artifact(folder / "x.kolm", bundle.members, name=name, task=text, family=text, base=base)
    return Artifact.open(folder / "x.kolm")


@pytest.mark.parametrize(
    ("form", "relation", "library"), [("peft", "adapter", "peft"), ("merged", "finetune", "transformers")]
)
def test_the_card_says_what_the_receipt_says(bundle: Bundle, form: str, relation: str, library: str):
    front, page = parts_of(model_card(facts_of(bundle, form=form)))
    assert front.pop("model-index")[0]["results"]
    assert front == {
        "license": "apache-2.0",
        "base_model": "base",
        "base_model_relation": relation,
        "library_name": library,
        "pipeline_tag": "image-text-to-text",
        "tags": ["kolm", "lora", "qwen2_5_vl"],
    }
    assert headings(page) == HEADINGS
    score = bundle.facts.k_score
    assert score["gate"]["verdict"] in page
    assert f"{score['interval'][0]:.4f} to {score['interval'][1]:.4f}" in page
    modules = Artifact.open(bundle.artifact_path).modules
    for name in [*modules.frozen_modules, *modules.trainable_modules]:
        assert f"<li>{name}</li>" in page
    assert "kolm verify digits.kolm" in page
    assert bundle.cid in page
    assert ("PeftModel.from_pretrained" in page) is (form == "peft")


@pytest.mark.parametrize(
    ("projector", "says"), [("frozen", "engines that take LoRA load it"), ("full", "serve it merged")]
)
def test_the_card_says_where_it_can_be_served(tmp_path: Path, projector: str, says: str):
    page = model_card(facts_of(make_bundle(tmp_path, projector=projector, rows=2)))
    assert says in page


def test_a_text_only_model_is_called_one(tmp_path: Path):
    bundle = make_bundle(tmp_path, text=True, rows=2)
    card = model_card(facts_of(bundle, loader="AutoModelForCausalLM"))
    assert parts_of(card)[0]["pipeline_tag"] == "text-generation"
    assert "AutoTokenizer.from_pretrained" in card


def test_without_a_receipt_no_score_is_claimed(bundle: Bundle):
    card = model_card(facts_of(bundle, compiled=None))
    assert "No receipt was at hand" in card
    assert "K-score" not in card


def test_a_base_that_names_no_licence_is_said_to(bundle: Bundle, tmp_path: Path):
    artifact = Artifact.open(bundle.artifact_path)
    base = artifact.manifest.base.model_dump() | {"licence": None}
    write_artifact(tmp_path / "x.kolm", bundle.members, name="digits", task="t", family="f", base=base)
    card = model_card(facts_of(bundle, Artifact.open(tmp_path / "x.kolm")))
    assert parts_of(card)[0]["license"] == "unknown"
    assert "does not say" in card


def test_a_licence_of_its_own_is_named(bundle: Bundle, tmp_path: Path):
    artifact = Artifact.open(bundle.artifact_path)
    base = artifact.manifest.base.model_dump() | {
        "licence": "other: gemma (https://ai.google.dev/gemma/terms)"
    }
    write_artifact(tmp_path / "x.kolm", bundle.members, name="digits", task="t", family="f", base=base)
    front, _ = parts_of(model_card(facts_of(bundle, Artifact.open(tmp_path / "x.kolm"))))
    assert (front["license"], front["license_name"]) == ("other", "gemma (https://ai.google.dev/gemma/terms)")


def test_hostile_words_stay_words(bundle: Bundle, tmp_path: Path):
    card = model_card(facts_of(bundle, renamed(bundle, tmp_path, HOSTILE)))
    front, page = parts_of(card)
    assert front["license"] == front["base_model"] == clean(HOSTILE)
    assert set(front) == {
        "license",
        "base_model",
        "base_model_relation",
        "library_name",
        "pipeline_tag",
        "tags",
        "model-index",
    }
    assert headings(page) == HEADINGS
    assert page.count("<h1>") == 1
    for mark in ("<script", "<a ", "<img", "<strong>bold", "\u202e", "\x1b"):
        assert mark not in page
    assert html.escape("<script>alert(1)</script> [click](http://evil.example)") in page

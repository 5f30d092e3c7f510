"""The report as Markdown: the hub reads its front matter, and no name or answer in it acts."""

import html
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kolm.artifact import Artifact, write_artifact
from kolm.canonical import canonical_lines, parse_canonical_lines
from kolm.metrics import get_metric
from kolm.receipt import Receipt
from kolm.report import facts_of, markdown_card
from kolm.report.card import LONGEST, MOST, bullets, clean, escaped, quoted, short, table
from kolm.yamldoc import read_yaml
from tests.bundles import Bundle, Members, make_bundle

HEADINGS = [
    "How well it does", "What changed", "How it was asked", "Base", "What was frozen and what was trained",
    "Training", "Data", "Provenance", "What this does not show",
]  # fmt: skip

HOSTILE = (
    "a | b \\| c\n\n# Hacked\n---\n<script>alert(1)</script> [click](http://evil.example) ![x](http://evil.example/p)"
    " `code` ```\n| x | y |\n|---|---|\n\u202egnorw\u200b **bold** www.evil.example\x1b[31m"
)


def card(bundle: Bundle) -> str:
    facts = facts_of(Artifact.open(bundle.artifact_path), Receipt.parse(bundle.receipt))
    return markdown_card(facts)


def parts_of(text: str) -> tuple[dict[str, Any], str]:
    """Front matter and the HTML of the rest, as a page that takes GitHub's Markdown shows it."""
    assert text.startswith("---\n")
    end = text.index("\n---\n")
    front = read_yaml(text[4:end].encode(), name="card").value
    return front, MarkdownIt("gfm-like", {"linkify": False}).render(text[end + 5 :])


def headings(page: str) -> list[str]:
    return [line.removeprefix("<h2>").removesuffix("</h2>") for line in page.splitlines() if "<h2>" in line]


def answering(text: str) -> Any:
    """An edit that puts these words in the mouth of both models, scored as they deserve."""

    def edit(members: Members) -> None:
        lines = parse_canonical_lines(members["eval/rows.jsonl"], what="rows")
        metric, gold = get_metric("exact@1"), parse_canonical_lines(members["eval/pack.jsonl"], what="pack")
        for place, (line, asked) in enumerate(zip(lines, gold, strict=True)):
            for model in ("base", "tuned") if place % 2 else ("base",):
                extracted, score = metric.judge(text, asked["gold"])
                line["outputs"][model] |= {"raw": text, "extracted": extracted, "score": score}
        members["eval/rows.jsonl"] = canonical_lines(lines)

    return edit


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("card"))


def test_the_hub_reads_the_results(honest: Bundle):
    """By huggingface_hub's own reader of model cards."""
    from huggingface_hub import ModelCard

    data = ModelCard(card(honest)).data
    accuracy = honest.facts.k_score["accuracy"]
    found = [(r.dataset_config, r.metric_type, r.metric_value) for r in data.eval_results]
    assert found == [
        (None, "mean_score", accuracy["tuned"]["value"]),
        ("read", "exact@1", accuracy["slices"]["read"]["tuned"]),
    ]
    assert (data.license, data.base_model, data.library_name) == ("apache-2.0", "base", "peft")
    assert data.model_name == "digits"


@pytest.mark.parametrize(
    ("kind", "library", "task"),
    [
        ({"method": "full", "projector": "full"}, "transformers", "image-text-to-text"),
        ({"text": True}, "peft", "text-generation"),
        ({"rows": 20}, "peft", "image-text-to-text"),
    ],
    ids=["whole model", "text-only", "few rows"],
)
def test_every_kind_of_artifact_has_a_card(tmp_path: Path, kind: dict[str, Any], library: str, task: str):
    front, page = parts_of(card(make_bundle(tmp_path, **kind)))
    assert (front["library_name"], front["pipeline_tag"]) == (library, task)
    assert headings(page) == HEADINGS


def test_the_tables_say_what_the_receipt_says(honest: Bundle):
    _, page = parts_of(card(honest))
    k = honest.facts.k_score
    assert f"<td>{k['value']:.4f}</td>" in page
    for condition in k["gate"]["conditions"]:
        assert f"({condition['id']})" in page
    assert honest.cid in page
    assert "<img" not in page


def test_hostile_answers_stay_in_their_cells(tmp_path: Path):
    text = card(make_bundle(tmp_path, edit=answering(HOSTILE)))
    front, page = parts_of(text)
    assert front["model-index"]
    assert headings(page) == HEADINGS
    for mark in ("<script", "<a ", "<img", "<strong>", "\u202e", "\u200b", "\x1b"):
        assert mark not in page
    assert html.escape("a | b \\| c # Hacked") in page
    rows = [line for line in text.splitlines() if line.startswith("| fixed |")]
    assert rows
    assert all(row.count(" | ") == 5 for row in rows)


def test_answers_of_a_megabyte_make_a_small_card(tmp_path: Path):
    text = card(make_bundle(tmp_path, rows=6, edit=answering("|`#" * 350_000)))
    assert len(text.encode()) < 1 << 17


def test_many_hostile_slices_make_a_bounded_card(tmp_path: Path):
    entry = {"n": 40, "base": 0.5, "tuned": 0.75, "gain": {"value": 0.25, "interval": [0.1, 0.4]}}

    def claim(said: dict[str, Any]) -> None:
        said["k_score"]["accuracy"]["slices"] = {f"{n} {HOSTILE}" * 20: entry for n in range(1_000)}

    text = card(make_bundle(tmp_path, rows=6, claim=claim))
    assert len(text.encode()) < 1 << 20
    front, page = parts_of(text)
    assert len(front["model-index"][0]["results"]) == MOST + 1
    assert headings(page) == HEADINGS
    assert page.count("<td>0.7500</td>") == MOST
    assert f"and {1_000 - MOST} more" in page


def test_a_long_list_of_names_is_cut():
    lines = bullets([f"{HOSTILE}{n}" * 20 for n in range(5_000)]).splitlines()
    assert len(lines) == MOST + 1
    assert max(map(len, lines)) <= 2 * LONGEST + 4


def test_a_hostile_maker_steers_nothing(honest: Bundle, tmp_path: Path):
    base = Artifact.open(honest.artifact_path).manifest.base.model_dump() | {"model": HOSTILE}
    path = tmp_path / "x.kolm"
    write_artifact(path, honest.members, name="digits", task=HOSTILE, family=HOSTILE, base=base)
    facts = facts_of(Artifact.open(path), Receipt.parse(honest.receipt))
    front, page = parts_of(markdown_card(facts))
    assert front["base_model"] == clean(HOSTILE)
    assert headings(page) == HEADINGS
    assert page.count("<h1>") == 1


TEXTS = st.text(max_size=60) | st.text("#-*_`<>[]()|!&:\\\"'\n~=+.1wxhtp/ ", max_size=60)


@given(text=TEXTS)
@settings(max_examples=300)
def test_any_text_comes_out_of_yaml_and_markdown_as_it_went_in(text: str):
    """Laws: quoted text is a YAML scalar and escaped text is Markdown of nothing but itself."""
    assert read_yaml(f"key: {quoted(text)}\n".encode(), name="card").value == {"key": clean(text)}
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"{escaped(text)} y")
    shown = html.escape(f"{clean(text)} y".lstrip(), quote=False).replace('"', "&quot;")
    assert page == f"<p>{shown}</p>\n"


@given(cells=st.lists(TEXTS, min_size=1, max_size=4))
def test_any_texts_make_one_row_of_a_table(cells: list[str]):
    """Law: a table has as many cells as it was given, and each holds its text and nothing else."""
    text = table([f"c{n}" for n in range(len(cells))], [[short(cell) for cell in cells]])
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    found = page.split("<tbody>")[1].replace("<tr>\n", "").splitlines()[1 : len(cells) + 1]
    expected = [html.escape(clean(cell), quote=False).replace('"', "&quot;") for cell in cells]
    assert found == [f"<td>{cell}</td>" for cell in expected]

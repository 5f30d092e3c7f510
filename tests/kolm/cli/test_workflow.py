"""The page of a workflow step gets the tables of a card, after what already stands there."""

from pathlib import Path

import pytest

from kolm.cli.workflow import tell_workflow
from kolm.errors import StorageError

CARD = "---\nlicense: mit\n---\n\n# digits\n\n| a |\n| --- |\n| b |\n"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    (tmp_path / "digits.report.md").write_text(CARD, encoding="utf-8")
    return tmp_path / "digits.report.md"


def test_the_tables_are_added_without_the_front_matter(card: Path, monkeypatch: pytest.MonkeyPatch):
    page = card.with_name("summary")
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    tell_workflow(card)
    assert page.read_text(encoding="utf-8") == "before\n# digits\n\n| a |\n| --- |\n| b |\n"


def test_elsewhere_nothing_is_written(card: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    tell_workflow(card)
    assert [path.name for path in card.parent.iterdir()] == [card.name]


def test_a_page_that_cannot_be_written_is_an_error(card: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(card.parent))
    with pytest.raises(StorageError):
        tell_workflow(card)

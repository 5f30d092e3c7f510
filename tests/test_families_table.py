"""The README's table of families: what each one's tests run, and what they do not, and why.

`python -m tests.test_families_table` prints it for the README.
"""

import re
from pathlib import Path

from apps.trainer.families import Family, families
from tests.tiny import KIN, NOT_TRAINED, TRAINED

README = Path(__file__).resolve().parents[1] / "README.md"

MEANS = {
    "own processor": "trained through its own processor",
    "prepared tensors": "trained on prepared tensors",
}


def trained_by() -> dict[str, str]:
    """Return for each trained family by what means; the better one where it has several checkpoints."""
    means: dict[str, str] = {}
    for checkpoint, how in sorted(TRAINED.items(), key=lambda item: item[1]):
        means.setdefault(KIN.get(checkpoint, checkpoint), how)
    return means


def verdict(family: Family, means: dict[str, str]) -> str:
    """Say what the tests run of a family."""
    if family.name in means:
        how = means[family.name]
        needs = f" (its processor needs {' and '.join(family.needs)})" if how == "prepared tensors" else ""
        return MEANS[how] + needs
    looked = "compared on the meta device" if family.checked else "unverified"
    return f"{looked}; not trained: {NOT_TRAINED[family.name]}"


def table() -> str:
    """Return the table of vision-language families as Markdown."""
    means = trained_by()
    rows = [
        f"| `{family.name}` | {projector(family)} | {verdict(family, means)} |"
        for family in families()
        if family.trainer == "vlm"
    ]
    return "\n".join(
        ["| family | projector unless told otherwise | what the tests run |", "|---|---|---|", *rows]
    )


def projector(family: Family) -> str:
    """Say what happens to a family's projector under `auto`."""
    if not family.projector:
        return "none"
    return "frozen, inside the tower" if family.projector_inside_vision else "trained in full"


def test_every_vision_language_family_is_trained_or_has_a_reason():
    names = {family.name for family in families() if family.trainer == "vlm"}
    trained = trained_by().keys()
    assert trained <= names
    assert NOT_TRAINED.keys() == names - trained


def test_at_least_twelve_families_are_trained_through_their_own_processor():
    assert sum(how == "own processor" for how in trained_by().values()) >= 12


def test_the_readme_shows_the_table():
    shown = re.search(r"<!-- families -->\n(.*?)\n<!-- /families -->", README.read_text(), re.DOTALL)
    assert shown
    assert shown.group(1).strip() == table()


if __name__ == "__main__":
    import sys

    sys.stdout.write(table() + "\n")

"""The page of a GitHub workflow step: where a compile runs in one, the tables of its card stand there too."""

import os
from pathlib import Path

from kolm.files import refusal


def tell_workflow(card: Path) -> None:
    """Append a Markdown card without its front matter to the file that GITHUB_STEP_SUMMARY names, if any.

    A step's page takes 1 MiB (docs.github.com, "Workflow commands"); a card is far smaller.
    Raises StorageError.
    """
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        return
    try:
        _, _, tables = card.read_text(encoding="utf-8").partition("\n---\n\n")
        with Path(place).open("a", encoding="utf-8") as page:
            page.write(tables)
    except OSError as err:
        raise refusal(err, action="write", path=Path(place)) from err

"""Files of pairs on their way into the capture store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.capture.store import CaptureStore, Import
from kolm.errors import DataError
from kolm.files import new_folder
from kolm.gallery import Gallery
from kolm.pack import PackRow, pack_of, write_pack
from kolm.pairs import pairs_of, read_pairs, told
from kolm.rows import Example


def import_file(store: CaptureStore, path: Path, *, namespace: str) -> Import:
    """Import the usable rows of a .jsonl or .csv file; the refused ones come back with their reasons.

    Raises DataError for the file or the namespace, StorageError.
    """
    return store.add(namespace, read_pairs(path))


def add_pair(
    store: CaptureStore,
    *,
    namespace: str,
    images: Sequence[Any],
    prompt: str,
    response: str,
    group: str | None = None,
) -> Import:
    """Add one pair; pictures are relative to the working folder. Raises DataError with the reason."""
    record = {"image": list(images), "prompt": prompt, "response": response, "group": group}
    added = store.add(namespace, pairs_of([(1, record)], gallery=Gallery(root=Path.cwd())))
    if added.refusals:
        raise DataError(added.refusals[0].reason, hint="nothing was added")
    return added


def require_complete(done: Import, *, source: str, namespace: str) -> None:
    """Raise DataError naming the rows that were refused, and how many are in nevertheless."""
    if done.refusals:
        counts = f"{done.new} imported into {namespace}, {len(done.added) - done.new} were there already"
        raise DataError(
            f"{source}: {counts}, {told(done.refusals)}", hint="fix these rows and import the file again"
        )


def write_eval_pack(store: CaptureStore, examples: Sequence[Example], directory: Path, *, name: str) -> Path:
    """Write held-out rows as an eval pack with exact match, and return its pack.yaml.

    A row becomes one question, so it has one user and one assistant turn. Raises DataError naming the
    first row that has not, SpecError for a folder that holds something, StorageError.
    """
    with new_folder(directory) as draft:
        rows = tuple(_question(example) for example in examples)
        write_pack(pack_of(name=name, rows=rows, gallery=store.gallery(examples)), draft)
    return directory / "pack.yaml"


def _question(example: Example) -> PackRow:
    if [turn.role for turn in example.messages] != ["user", "assistant"]:
        raise DataError(
            f"row {example.id} is not one question and one answer, so a pack cannot hold it",
            hint="freeze it without --pack",
        )
    prompt, answer = (turn.text for turn in example.messages)
    return PackRow(example.id, example.images, prompt, (answer,), "all")

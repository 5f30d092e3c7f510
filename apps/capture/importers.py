"""Files of pairs on their way into the capture store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.capture.sources import Pictures, Record, folder_of, source_of
from apps.capture.store import CaptureStore, Import
from kolm.errors import DataError
from kolm.gallery import Gallery
from kolm.pairs import pairs_of, read_pairs, told


def import_file(
    store: CaptureStore,
    path: Path,
    *,
    namespace: str,
    format: str | None = None,
    images: Path | None = None,
) -> Import:
    """Import the usable rows of a file; the refused ones come back with their reasons.

    Without a format it is a .jsonl or .csv file of pairs, else a source in `apps.capture.sources` names it,
    with pictures from the folder `images`. Raises DataError for the file or the namespace, SpecError for
    the format, StorageError.
    """
    if format is None:
        return store.add(namespace, read_pairs(path))
    source = source_of(path, name=format)
    found = source.records(path, Pictures(images or folder_of(path)), source.prompt)
    records = ((n, record.pair() if isinstance(record, Record) else record) for n, record in found)
    return store.add(namespace, pairs_of(records, gallery=Gallery(root=Path())))


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

"""`kolm log`: read a registry's log, and notice when it takes back what it said."""

from pathlib import Path
from typing import Annotated

import typer

from kolm.cli.console import command, emit, note
from kolm.cli.options import AsJson, Registry
from kolm.errors import ArtifactError, SpecError
from kolm.instants import spell_instant
from kolm.visible import one_line


@command
def log(
    registry: Registry,
    trust: Annotated[
        Path | None, typer.Option(help="Directory with log.vkey.", show_default="$KOLM_HOME/trust")
    ] = None,
    begin: Annotated[int, typer.Option(min=0, help="First entry to print.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a log's entries, each shown to be in it, after comparing it with what was seen of it before.

    A log that forks or is set back is exit code 7; both of its notes are kept as evidence.
    """
    from kolm.tlog.seen import logs_folder, seen_path
    from kolm.trust import TrustStore, default_trust_dir
    from registry.client import RegistryClient
    from registry.reader import LogReader

    folder = trust or default_trust_dir()
    key = TrustStore.open(folder).log
    if key is None:
        raise SpecError(
            f"{folder} does not say whose log to believe",
            hint="`kolm key trust --log VKEY`, with what `kolm registry serve` prints after log.vkey",
        )
    with RegistryClient(registry) as client:
        found = LogReader.open(client.fetch_log, key, logs=logs_folder())
        said = found.checkpoint
        before = (
            f"consistent with the {found.seen.size} seen before" if found.seen else "seen for the first time"
        )
        note(f"log {said.origin}: {said.size} entries, {_signed(said.time)}, {before}")
        note(f"kept as {seen_path(logs_folder(), key.name)}; kolm verify takes no older proof of this log")
        rows = (_row(index, entry) for index, entry in found.entries(begin))
        if as_json:
            whole = {"origin": said.origin, "size": said.size, "root": said.root.hex(), "time": said.time}
            emit(whole | {"entries": list(rows)}, as_json=True)
        else:
            for row in rows:
                emit(_line(row))


def _signed(time: int | None) -> str:
    """Say when a log signed, which is how its reader notices one that stands still."""
    from datetime import UTC, datetime

    if time is None:
        return "signed without a time"
    try:
        return f"signed {spell_instant(datetime.fromtimestamp(time, UTC))}"
    except (OverflowError, ValueError, OSError):
        return f"signed {time} seconds after 1970"


def _row(index: int, entry: bytes) -> dict[str, object]:
    """Return an entry as it is printed; one that is not kolm's is named by its digest."""
    from kolm.cid import sha256_hex
    from kolm.entries import parse_entry

    try:
        said = parse_entry(entry).model_dump()
    except ArtifactError:
        said = {"what": "unknown", "sha256": sha256_hex(entry)}
    said.pop("kind", None)
    return {"index": index, **said}


def _line(row: dict[str, object]) -> str:
    revokes = row.get("revokes")
    named = [*revokes.values()] if isinstance(revokes, dict) else []
    rest = [row[key] for key in ("artifact", "receipt", "statement", "sha256") if key in row]
    return one_line(f"{row['index']:>8}  {row['what']:<10}  {'  '.join(map(str, [*named, *rest]))}")

"""Where the last checkpoint seen of a log is kept: no later word of that log may go behind it."""

from pathlib import Path

from kolm.cid import sha256_hex
from kolm.files import home


def logs_folder() -> Path:
    """Return the folder of what was seen of logs."""
    return home() / "logs"


def seen_path(logs: Path, origin: str) -> Path:
    """Return where the last checkpoint seen of a log is kept, by the log's name (log.md 4)."""
    return logs / f"{sha256_hex(origin.encode())}.checkpoint"

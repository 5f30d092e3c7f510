"""What one registry is told when it starts."""

from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
MIB = 1024**2
MAX_ARTIFACT_BYTES = 8 * GIB
"""Largest artifact that a registry takes and a client fetches."""


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """Where a registry keeps its bytes, whose signatures it accepts, and how much it takes at once."""

    data: Path
    """Directory of the index, the blobs and the uploads under way."""
    trust: Path
    """Trust directory (specs/formats/envelope.md 4); read anew for every upload."""
    origin: str | None = None
    """Name of the log; made of its key if none is given."""
    max_artifact_bytes: int = MAX_ARTIFACT_BYTES
    max_receipt_bytes: int = 16 * MIB

    @property
    def incoming(self) -> Path:
        """Where uploads wait until they are verified; on the same file system as the blobs."""
        return self.data / "incoming"

"""The registry's own word on what it verified: one signed summary for each accepted receipt."""

from pathlib import Path

from kolm.cid import CID, digest_of
from kolm.files import make_folder, write_atomic
from kolm.summary import verification_summary
from kolm.trust import Policy
from kolm.verify import AuditReport
from registry.log import own_key


class Summaries:
    """Summaries as files named by the receipt, signed by a key that signs nothing else."""

    def __init__(self, data: Path) -> None:
        self._key = own_key(data / "registry.pem")
        self._folder = make_folder(data / "summaries")

    def keep(self, report: AuditReport, *, receipt: CID, policy: Policy) -> None:
        """Sign and keep the summary of an audit that passed; the first one stays. Raises StorageError."""
        path = self._path(receipt)
        if not path.exists():
            verifier = f"urn:kolm:registry:{self._key.key_id}"
            write_atomic(path, verification_summary(report, self._key, verifier=verifier, policy=policy))

    def read(self, receipt: CID) -> bytes | None:
        """Return the summary of a receipt, or None."""
        path = self._path(receipt)
        return path.read_bytes() if path.is_file() else None

    def _path(self, receipt: CID) -> Path:
        return self._folder / f"{digest_of(receipt).hex()}.json"

"""The registry's own word on what it verified: one signed summary for each accepted receipt."""

from datetime import datetime
from pathlib import Path

from kolm.cid import CID, digest_of
from kolm.files import make_folder, write_atomic
from kolm.policy import Policy
from kolm.summary import failed_summary, verification_summary
from kolm.verify import AuditReport
from registry.log import own_key


class Summaries:
    """Summaries as files named by the receipt, signed by a key that signs nothing else."""

    def __init__(self, data: Path) -> None:
        self._key = own_key(data / "registry.pem")
        self.public = self._key.public
        """The key by which readers check a summary."""
        self._folder = make_folder(data / "summaries")

    def keep(self, report: AuditReport, *, receipt: CID, policy: Policy) -> None:
        """Sign and keep the summary of an audit that passed; the first one stays. Raises StorageError."""
        path = self._path(receipt)
        if not path.exists():
            verifier = f"urn:kolm:registry:{self._key.key_id}"
            write_atomic(path, verification_summary(report, self._key, verifier=verifier, policy=policy))

    def read(self, receipt: CID, *, revoked: datetime | None) -> bytes | None:
        """Return the summary of a receipt, FAILED since it was `revoked`; None if there is none."""
        path = self._path(receipt)
        passed = path.read_bytes() if path.is_file() else None
        return passed if passed is None or revoked is None else failed_summary(passed, self._key, at=revoked)

    def _path(self, receipt: CID) -> Path:
        return self._folder / f"{digest_of(receipt).hex()}.json"

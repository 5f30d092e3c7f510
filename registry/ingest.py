"""Taking in an artifact: verify, put the blobs, sign a summary, log the receipt, then one transaction.

The order is what makes a crash harmless: before the transaction ends there are at most blobs that no
row names, and those are not served; whoever uploads again finds the entry that was logged.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kolm.artifact import Artifact
from kolm.canonical import canonical_json
from kolm.cid import CID, cid_of, parse_cid
from kolm.entries import receipt_entry
from kolm.errors import KolmError
from kolm.predicates import CompilePredicate
from kolm.trust import TrustStore
from kolm.verify import AuditReport
from registry.blobs import Blobs
from registry.index import Entry, Index
from registry.log import Log
from registry.problems import LOG, Problem
from registry.schemas import Logged, Stored
from registry.settings import RegistrySettings
from registry.summaries import Summaries
from registry.uploads import Upload


class Verifier(Protocol):
    """Checks an artifact and its receipt as `kolm.verify.verify_bundle` does."""

    def __call__(
        self,
        artifact: Path,
        receipt: bytes | None,
        trust: TrustStore,
        *,
        expected_cid: CID | None = None,
        stop_at_first: bool = False,
    ) -> AuditReport:
        """Return the numbered report; never raise for a bad bundle."""
        ...


@dataclass(frozen=True, kw_only=True)
class Service:
    """What every route works with."""

    settings: RegistrySettings
    index: Index
    blobs: Blobs
    verifier: Verifier
    log: Log
    summaries: Summaries

    def trust(self) -> TrustStore:
        """Read the trust directory as it is now. Raises Problem `not_ready`."""
        try:
            return TrustStore.open(self.settings.trust)
        except KolmError as err:
            LOG.error("the trust directory cannot be used: %s", err.message)
            raise Problem("not_ready", "the registry's trust directory cannot be used") from err


def store(upload: Upload, *, service: Service) -> Stored:
    """Verify an upload and keep it; nothing is kept when anything is wrong. Raises Problem, StorageError."""
    _require_claim(upload)
    trust = _without_log(service.trust())
    report = service.verifier(
        upload.artifact, upload.receipt, trust, expected_cid=upload.cid, stop_at_first=True
    )
    if not report.ok or report.compile is None:
        raise _refusal(report)
    artifact = Artifact.open(upload.artifact)
    with artifact.container:
        entry = entry_of(upload, artifact=artifact, compiled=report.compile)
        modules = artifact.read("modules.json")
    if entry.verdict != "PASS" and not upload.allow_failed:
        raise Problem(
            "gate_not_passed",
            f"the gate's verdict is {entry.verdict}",
            hint="look at the gate's conditions; push it all the same with --push-failed",
            verdict=entry.verdict,
        )
    _put(upload, modules, entry=entry, blobs=service.blobs)
    service.summaries.keep(report, receipt=entry.receipt, policy=trust.policy)
    place = service.log.add(receipt_entry(entry.cid, entry.receipt))
    return Stored(
        cid=entry.cid,
        receipt=entry.receipt,
        created=service.index.record(entry),
        verdict=entry.verdict,
        k=entry.k,
        log=Logged(index=place, size=service.log.size),
    )


def _without_log(trust: TrustStore) -> TrustStore:
    """Drop the demand for a log proof: it is this registry that logs, and only what it accepted."""
    return replace(trust, policy=replace(trust.policy, require_log=False))


def entry_of(upload: Upload, *, artifact: Artifact, compiled: CompilePredicate) -> Entry:
    """Return what the index keeps of a verified upload. Raises ArtifactError."""
    modules = artifact.read("modules.json")
    modules_cid = cid_of(modules)
    return Entry(
        cid=upload.cid,
        modules=modules_cid,
        receipt=upload.receipt_cid,
        sizes={
            upload.cid: upload.size_bytes,
            upload.receipt_cid: len(upload.receipt),
            modules_cid: len(modules),
        },
        name=artifact.manifest.name,
        base=artifact.manifest.base.model,
        family=artifact.manifest.family,
        frozen=artifact.modules.frozen,
        trainable=artifact.modules.trainable,
        verdict=compiled.k_score.gate.verdict,
        k=compiled.k_score.value,
        kscore=canonical_json(compiled.k_score.model_dump()),
        created=compiled.finished,
    )


def _put(upload: Upload, modules: bytes, *, entry: Entry, blobs: Blobs) -> None:
    """Put the three blobs; each is whole and on the disk before the index names it."""
    for name, data, cid in (
        ("receipt.json", upload.receipt, entry.receipt),
        ("modules.json", modules, entry.modules),
    ):
        path = upload.directory / name
        path.write_bytes(data)
        blobs.put(path, cid=cid)
    blobs.put(upload.artifact, cid=entry.cid)


def _require_claim(upload: Upload) -> None:
    if upload.claimed is not None and parse_cid(upload.claimed) != upload.cid:
        raise Problem(
            "cid_mismatch",
            f"the artifact's bytes have the CID {upload.cid}, not {upload.claimed}",
            hint="the file was changed on its way, or the CID belongs to another one",
            claimed=upload.claimed,
            computed=upload.cid,
        )


def _refusal(report: AuditReport) -> Problem:
    failure = report.failure
    code, detail = (failure.code, failure.detail) if failure else ("", "the receipt has no compile statement")
    return Problem(
        "verification_failed",
        f"{code}: {detail}" if code else detail,
        hint="run `kolm verify` on the same two files; which keys count is up to the registry",
        check=code,
        report=report.to_json(),
    )

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.tlog.proof import LogProof
from kolm.verify import AuditReport
from tests.bundles import Bundle, make_bundle
from tests.tampering.lies import audit
from tests.tampering.logs import NOW, PLACE, AttackedLog, entry_of


@pytest.fixture(scope="session")
def key() -> PrivateKey:
    return PrivateKey.generate()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, key: PrivateKey) -> Bundle:
    """A small honest bundle; read-only."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), rows=4, key=key)


@pytest.fixture(scope="session")
def neighbour(tmp_path_factory: pytest.TempPathFactory, key: PrivateKey) -> Bundle:
    """Another honest bundle of the same publisher: another seed, another run."""
    return make_bundle(tmp_path_factory.mktemp("neighbour"), rows=4, key=key, seed=1, run="f" * 32)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where a test builds its own lying bundle."""
    return tmp_path / "lie"


@pytest.fixture(scope="session")
def log(bundle: Bundle, neighbour: Bundle) -> AttackedLog:
    """A log that holds both bundles among other entries."""
    others = [b"entry %d" % number for number in range(8)]
    entries = [*others[:PLACE], entry_of(bundle), entry_of(neighbour), *others[PLACE:]]
    return AttackedLog(entries)


@pytest.fixture
def asked(bundle: Bundle, log: AttackedLog) -> Callable[..., AuditReport]:
    """Audit the bundle with a proof, trusting the log; keywords add to policy and to the call."""

    def ask(proof: LogProof | bytes | None, *, seen: bytes | None = None, **policy: object) -> AuditReport:
        trust = replace(bundle.trust, log=log.note_key, policy=Policy(**policy))
        data = proof.to_bytes() if isinstance(proof, LogProof) else proof
        return audit(replace(bundle, trust=trust), proof=data, seen=seen, now=NOW)

    return ask

from pathlib import Path

import pytest

from kolm.keys import PrivateKey
from tests.bundles import Bundle, make_bundle


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

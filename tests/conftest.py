"""What every test has: a home of its own and, where they are, the conformance vectors made by others."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # specs/decisions/0006: before torch is imported

settings.register_profile("kolm", deadline=None, max_examples=100)
settings.load_profile("kolm")


def required(what: str) -> bool:
    """Say whether KOLM_REQUIRE names `what`, so that a skip is a failure here."""
    return what in os.environ.get("KOLM_REQUIRE", "").replace(",", " ").split()


def skip_or_fail(what: str, reason: str) -> None:
    """Skip for a plain reason, or fail where `what` has to be present."""
    if required(what):
        pytest.fail(f"KOLM_REQUIRE asks for {what}: {reason}")
    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups when it has its turn
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one process what shares costly fixtures: the tests of a file, and all of e2e."""
    for item in items:
        folder = item.path.parent
        group = folder if folder.name == "e2e" else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))


def program(name: str) -> str:
    """Return where a program of the system is; skips, or fails where KOLM_REQUIRE asks for `programs`."""
    found = shutil.which(name)
    if found is None:
        skip_or_fail("programs", f"there is no {name} here")
    return str(found)


@pytest.fixture(autouse=True)
def kolm_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep keys, trust and captures of every test in a folder of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KOLM_HOME", str(home))
    monkeypatch.delenv("KOLM_KEY_PASSPHRASE", raising=False)
    monkeypatch.delenv("KOLM_KEY_PASSPHRASE_FILE", raising=False)
    return home


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Return the folder of conformance vectors: KOLM_VECTORS, else shared/vectors beside the repository."""
    repository = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("KOLM_VECTORS") or repository.parent / "shared" / "vectors")
    if not folder.is_dir():
        skip_or_fail("vectors", f"no conformance vectors: set KOLM_VECTORS, there is no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def format_vectors() -> Path:
    """Return the folder of the vectors that belong to the format pages."""
    return Path(__file__).resolve().parents[1] / "specs" / "formats" / "vectors"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the maker of tiny checkpoints: `tiny("qwen3_vl")` is a folder, made once per session."""
    from functools import cache

    from tests.tiny import SHIPPED, build

    return cache(lambda name: SHIPPED.get(name) or build(name, tmp_path_factory.mktemp("tiny") / name))

"""The two models of an artifact, and the machine they would be asked on."""

import platform
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from apps.trainer.pair import ModelPair, environment_for, unpack
from kolm.artifact import Artifact
from kolm.errors import TrainError
from tests.bundles import make_bundle


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.open(make_bundle(tmp_path_factory.mktemp("bundle"), rows=2).artifact_path)


def test_members_of_any_size_are_unpacked_as_they_are(artifact: Artifact, tmp_path: Path):
    unpack(artifact, tmp_path, roles=("adapter", "weights"))
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert held == {Path(name).name: artifact.read(name) for name in artifact.members("adapter")}


def test_the_environment_names_the_packages_of_the_lock_as_they_are_here(artifact: Artifact):
    versions = {**artifact.lock.versions, "python": "2.7", "left-pad": "1"}
    lock = SimpleNamespace(config=artifact.lock.config, versions=versions)
    here = environment_for(SimpleNamespace(lock=lock))
    assert here["versions"].keys() == versions.keys()
    assert here["versions"]["torch"] == version("torch")
    assert here["versions"]["python"] == platform.python_version()
    assert here["versions"]["left-pad"] is None
    assert here.keys() == {"versions", "device", "threads", "cpu_capability"}


def test_a_base_that_is_not_on_this_machine_is_asked_for(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KOLM_HOME", str(tmp_path))
    with pytest.raises(TrainError, match="not on this machine"), ModelPair.open(artifact):
        pytest.fail("it must not open")

"""The two models of an artifact, its base alone and with what was trained, each loaded when asked for."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from apps.trainer.bases import Base, recall_base
from apps.trainer.devices import running_on
from apps.trainer.generate import LoadedModel, open_model
from apps.trainer.load import device_of
from kolm import __version__
from kolm.artifact import Artifact, Role
from kolm.files import AtomicFile
from kolm.spec import VLMTrainConfig


@dataclass(frozen=True)
class ModelPair:
    """An artifact whose base was found on this machine, and what was trained, unpacked."""

    artifact: Artifact
    base: Base
    config: VLMTrainConfig
    trained: Path
    """Folder of the adapter, or of the weights."""

    @classmethod
    @contextmanager
    def open(
        cls, artifact: Artifact, *, base: Path | None = None, trust_code: bool = False
    ) -> Iterator["ModelPair"]:
        """Find the base an artifact was compiled from and check its files one by one.

        A base that runs Python code of its own is opened only with `trust_code`. Raises ArtifactError,
        SpecError, TrainError when the base is not on this machine.
        """
        found = recall_base(artifact.manifest.base.model_dump(), directory=base, trust=trust_code)
        config = VLMTrainConfig.model_validate(artifact.lock.config)
        with tempfile.TemporaryDirectory(prefix="kolm-") as folder:
            trained = unpack(artifact, Path(folder), roles=("adapter", "weights"))
            yield cls(artifact, found, config, trained)

    def open_base(self) -> LoadedModel:
        """Load the base alone. Raises TrainError."""
        return open_model(self.base, self.config, **self._pixels)

    def open_tuned(self) -> LoadedModel:
        """Load the base with what was trained. Raises TrainError; EvalError if it is not what was saved."""
        manifest = self.artifact.modules
        return open_model(self.base, self.config, trained=self.trained, manifest=manifest, **self._pixels)

    @property
    def _pixels(self) -> dict[str, int | None]:
        return self.artifact.lock.processor.model_dump(include={"min_pixels", "max_pixels"})


def environment_for(artifact: Artifact) -> dict[str, Any]:
    """Return what an artifact would be asked on here, in the members that a receipt's `environment` has.

    `versions` are those of the packages that its lock names; null for one that is not installed.
    """
    device = device_of(VLMTrainConfig.model_validate(artifact.lock.config))
    return {"versions": {name: _version(name) for name in artifact.lock.versions}, **running_on(device)}


def unpack(artifact: Artifact, folder: Path, *, roles: Sequence[Role]) -> Path:
    """Write the members with these roles into `folder`, by their last name, and return it.

    Members of any size are copied piece by piece. Raises ArtifactError, StorageError.
    """
    for name in artifact.members(*roles):
        with (
            artifact.container.open_member(name) as member,
            AtomicFile(folder / Path(name).name) as file,
        ):
            shutil.copyfileobj(member, file, 1 << 20)
    return folder


def _version(package: str) -> str | None:
    own = {"kolm": __version__, "python": python_version()}
    if package in own:
        return own[package]
    try:
        return version(package)
    except PackageNotFoundError:
        return None

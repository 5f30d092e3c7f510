"""Whom a compile works with: the trainer that has planned a job, what it leaves, who asks, who is told.

`kolm` knows these by what they do; `apps` and the tests bring classes that do it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kolm.dataset import Dataset
from kolm.inputs import Inputs
from kolm.modules import ModuleManifest
from kolm.pack import EvalPack


class Trained(Protocol):
    """What training left behind; see `apps.trainer.vlm.TrainResult`."""

    @property
    def adapter_dir(self) -> Path:
        """Folder of what was trained: `adapter`, or `weights` where no adapter was."""

    @property
    def manifest(self) -> ModuleManifest:
        """Every parameter as it was seen."""

    @property
    def log(self) -> bytes:
        """The step log."""

    @property
    def metrics(self) -> dict[str, Any]:
        """Counts and losses; `steps_ns` are wall times in nanoseconds."""


class Job(Protocol):
    """A trainer that has found the base of one spec and planned its freeze; see `apps.trainer.job`."""

    @property
    def family(self) -> str:
        """Name of the base's family."""

    @property
    def sees_images(self) -> bool:
        """Whether the base looks at images; if not, rows hold text alone and the block is `text_train`."""

    @property
    def base_identity(self) -> dict[str, Any]:
        """The base as a manifest names it."""

    @property
    def targets(self) -> list[str]:
        """Full names of the modules that get LoRA factors."""

    @property
    def target_parameters(self) -> list[str]:
        """Full names of the 3-D parameters that get LoRA factors."""

    @property
    def resolved(self) -> dict[str, Any]:
        """What the settings that say `auto` mean here: device, dtype, keep, parts, servable_as."""

    @property
    def cost(self) -> dict[str, int]:
        """Parameter counts behind the C axis."""

    @property
    def processor(self) -> dict[str, Any]:
        """What turns images and text into tensors."""

    @property
    def processor_files(self) -> dict[str, Path]:
        """Processor files of the base, by the name of their member."""

    @property
    def batch(self) -> int:
        """Most questions asked at once that the spec and the base's family allow."""

    def check_pack(self, pack: EvalPack) -> None:
        """Find a question that the processor refuses before anything is trained."""

    def versions(self) -> dict[str, str]:
        """Versions of everything that changes an output byte."""

    def predict(self, dataset: Dataset) -> dict[str, int | None]:
        """`{peak_bytes, step_ns}` of training on these rows, as far as it can be said beforehand."""

    def train(
        self,
        dataset: Dataset,
        validation: Dataset | None,
        *,
        commitment: Mapping[str, Any],
        folder: Path,
        progress: Callable[[int, int, float], None] | None,
    ) -> Trained:
        """Train and observe."""

    def train_block(self, result: Any) -> dict[str, Any]:
        """The receipt's `vlm_train` or `text_train`."""

    def environment(self) -> dict[str, Any]:
        """What this ran on."""

    def peak_memory(self) -> int:
        """Highest memory use in bytes."""


class Outputs(Protocol):
    """What the models said; see `apps.eval.run.Outputs`."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of `eval/rows.jsonl`."""

    @property
    def timings(self) -> list[dict[str, Any]]:
        """`[{id, base_ns, tuned_ns}]` of the timed rows, in the pack's order."""

    @property
    def evaluation(self) -> dict[str, int]:
        """`{batch, compared, differing}`: how the questions were asked."""


Evaluate = Callable[..., Outputs]
"""(job, trained, pack, lock=, metrics=, max_new_tokens=, progress=) -> outputs; `lock` is `spec.lock.json`.

`kolm.cli` joins the two apps."""


class Voice(Protocol):
    """Whoever is told how far a compile has come."""

    def planned(self, inputs: Inputs, job: Job) -> None:
        """Inputs are read and the freeze is planned."""

    def training(self, step: int, steps: int, loss: float) -> None:
        """One more optimizer step is done."""

    def asking(self, model: str, done: int, rows: int) -> None:
        """One more question is answered."""

"""Asks the models of an artifact again, one question at a time, for the rows that an auditor drew."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from apps.eval.controls import partners, shown
from kolm.answers import Answerer
from kolm.artifact import Artifact
from kolm.errors import EvalError
from kolm.pack import EvalPack, PackRow
from kolm.verify import Said

Progress = Callable[[str, int, int], None]
"""Called after each question with (which output, done, in all)."""


class Models(Protocol):
    """The base of an artifact and its tuned model, loaded when they are opened."""

    def open_base(self) -> Answerer:
        """Load the base alone."""

    def open_tuned(self) -> Answerer:
        """Load the base with what was trained."""


class ModelReplayer:
    """Opens the two models of an artifact one after the other and asks them alone, as an evaluation does."""

    def __init__(
        self,
        open_models: Callable[[Artifact], AbstractContextManager[Models]],
        environment: Callable[[Artifact], Mapping[str, Any]],
        *,
        progress: Progress | None = None,
    ) -> None:
        self._open_models = open_models
        self.environment = environment
        self._progress = progress

    def answers(
        self, artifact: Artifact, pack: EvalPack, rows: Sequence[PackRow], kinds: Sequence[str]
    ) -> Iterator[Said]:
        """Yield every output of these kinds for these rows.

        Raises SpecError, TrainError when the base is not here or not allowed to run, EvalError, DataError.
        """
        with self._open_models(artifact) as models:
            yield from self._asked(models.open_base(), artifact, pack, rows, ["base"])
            tuned = [kind for kind in kinds if kind != "base"]
            yield from self._asked(models.open_tuned(), artifact, pack, rows, tuned)

    def _asked(
        self,
        model: Answerer,
        artifact: Artifact,
        pack: EvalPack,
        rows: Sequence[PackRow],
        kinds: Sequence[Any],
    ) -> Iterator[Said]:
        partner, longest = partners(pack), artifact.lock.generation.max_new_tokens
        for kind in kinds:
            for done, row in enumerate(rows, start=1):
                question = shown(kind, row, pack, partner=partner[row.id])
                try:
                    answer = model.ask(question.turns, question.images, max_new_tokens=longest)
                except (RuntimeError, ValueError, IndexError) as err:
                    raise EvalError(
                        f"eval row {row.id}: the model failed: {str(err).splitlines()[0]}",
                        hint="out of memory? give it a machine like the one of the receipt",
                    ) from err
                yield Said(row.id, kind, answer)
                if self._progress:
                    self._progress(kind, done, len(rows))

"""Run a base and its tuned model over an eval pack and keep every output.

Each row has the outputs `base` and `tuned`, two blind controls of the tuned model where it looks at images,
and `perturbed` (`apps.eval.controls`). Rows drawn to be timed are asked alone; all are asked in batches, and
where the two differ in one answer, everything is asked alone (specs/decisions/0005).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from apps.eval.controls import Kind, kinds, partners, shown
from apps.eval.journal import Journal, digest_of_question
from kolm.answers import Answer, Answerer, Question
from kolm.cid import CID
from kolm.draws import timed_rows
from kolm.errors import EvalError
from kolm.gallery import Gallery
from kolm.metrics import get_metric
from kolm.pack import EvalPack, PackRow

WARM_UP = 3
"""Questions asked before anything is timed."""

KEPT_BYTES = 1 << 28
"""Memory of decoded pictures that are kept, because several outputs are made from each."""

Progress = Callable[[str, int, int], None]
"""Called after each question with (which model is asked, done, in all)."""


@dataclass(frozen=True)
class Outputs:
    """Everything that was said, in the pack's order, and what was measured of it."""

    rows: list[dict[str, Any]]
    """Rows of the member `eval/rows.jsonl`."""
    timings: list[dict[str, Any]]
    """`[{id, base_ns, tuned_ns}]` of the timed rows: wall time from decoded pictures to text."""
    evaluation: dict[str, int]
    """`{batch, compared, differing}`: most questions at once, and what was asked in both ways."""


def evaluate(
    open_base: Callable[[], Answerer],
    open_tuned: Callable[[], Answerer],
    pack: EvalPack,
    *,
    metrics: Mapping[str, str],
    max_new_tokens: int,
    sees_images: bool,
    batch: int = 1,
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Outputs:
    """Ask both models every question of the pack.

    The models are opened one after the other, so that only one is in memory. `metrics` maps each slice to a
    metric id. `facts` are all that the answers depend on: with them a journal is kept, and what a killed
    evaluation was told is not asked again. Raises EvalError, DataError, StorageError.
    """
    asked = Asked(pack, kinds(sees_images=sees_images))
    base, tuned = (
        Run(model, asked, max_new_tokens=max_new_tokens, batch=batch, facts=facts, progress=progress)
        for model in ("base", "tuned")
    )
    base.ask(open_base())
    tuned.ask(open_tuned())
    rows = [_row(row, asked, metrics[row.slice], base=base.said, tuned=tuned.said) for row in pack.rows]
    timings = [{"id": row_id, "base_ns": ns, "tuned_ns": tuned.ns[row_id]} for row_id, ns in base.ns.items()]
    for run in (base, tuned):
        run.forget()
    compared, differing = base.compared + tuned.compared, base.differing + tuned.differing
    return Outputs(rows, timings, {"batch": batch, "compared": compared, "differing": differing})


class _Decoded:
    """A gallery whose pictures are kept once they are decoded, as far as there is room."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._room = KEPT_BYTES
        self._kept: dict[CID, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gallery, name)

    def image(self, cid: CID) -> Any:
        """Return a picture. Raises DataError."""
        if cid in self._kept:
            return self._kept[cid]
        picture = self._gallery.image(cid)
        self._room -= 3 * picture.width * picture.height
        if self._room > 0:
            self._kept[cid] = picture
        return picture


class Asked:
    """The questions of a pack, equal ones known as one by their digest."""

    def __init__(self, pack: EvalPack, kinds: Sequence[Kind]) -> None:
        self._pack: Any = replace(pack, gallery=_Decoded(pack.gallery))
        self._partners = partners(pack)
        self.kinds = kinds
        self.rows = {row.id: row for row in pack.rows}
        self.timed = timed_rows(pack.digest, list(self.rows))
        self._digests: dict[tuple[str, Kind], str] = {}
        for row_id in self.rows:
            for kind in kinds:
                same = self._digests.get((row_id, "base")) if kind == "tuned" else None
                self._digests[row_id, kind] = same or digest_of_question(self.question(row_id, kind))

    def digest(self, row_id: str, kind: Kind) -> str:
        """Digest of the question behind one output."""
        return self._digests[row_id, kind]

    def question(self, row_id: str, kind: Kind) -> Question:
        """What the model is shown for one output, made again each time."""
        return shown(kind, self.rows[row_id], self._pack, partner=self._partners[row_id])

    def of(self, model: str) -> dict[str, tuple[str, Kind]]:
        """One output for each different question to a model, by the question's digest."""
        found: dict[str, tuple[str, Kind]] = {}
        for kind in self.kinds:
            if (kind == "base") == (model == "base"):
                for row_id in self.rows:
                    found.setdefault(self.digest(row_id, kind), (row_id, kind))
        return found


class _Questions(Sequence[Question]):
    """Questions that are made when they are asked, so that their pictures need no memory before."""

    def __init__(self, asked: Asked, outputs: Sequence[tuple[str, Kind]]) -> None:
        self._asked, self._outputs = asked, outputs

    def __len__(self) -> int:
        return len(self._outputs)

    def __getitem__(self, place: Any) -> Any:
        return self._asked.question(*self._outputs[place])


class Run:
    """Asks one model all its questions: the timed ones alone, all in batches, all alone if that differs."""

    def __init__(
        self,
        model: str,
        asked: Asked,
        *,
        max_new_tokens: int,
        batch: int,
        facts: Mapping[str, Any] | None,
        progress: Progress | None,
    ) -> None:
        self._model = model
        self._asked = asked
        self._max_new_tokens = max_new_tokens
        self._batch = batch
        self._facts = facts
        self._progress = progress
        self._left = asked.of(model)
        self._done, self._all = 0, len(asked.timed) + len(self._left)
        self.said: dict[str, Answer] = {}
        """Every answer, by the digest of its question."""
        self.ns: dict[str, int] = {}
        """Wall time of each timed row's answer in nanoseconds, in the pack's order."""
        self.compared = self.differing = 0

    def ask(self, model: Answerer) -> None:
        """Ask everything."""
        alone = self._timed(model)
        if self._batch > 1:
            self._rest(model, batch=self._batch)
            self.compared = len(alone)
            self.differing = sum(self.said[digest] != answer for digest, answer in alone.items())
        if self._batch == 1 or self.differing:
            self._all += len(self._left) if self.differing else 0
            self.said = dict(alone)
            self._rest(model, batch=1)

    def forget(self) -> None:
        """Remove what was kept for the case of being killed."""
        for batch in {1, self._batch}:
            if journal := self._journal(batch):
                journal.remove()

    def _timed(self, model: Answerer) -> dict[str, Answer]:
        """Ask the timed rows alone, after a warm-up, and note how long each took."""
        kind: Kind = "base" if self._model == "base" else "tuned"
        alone = {}
        for row_id in [*self._asked.timed[:WARM_UP], *self._asked.timed]:
            question = self._asked.question(row_id, kind)
            with _naming(f"eval row {row_id}"):
                began = time.perf_counter_ns()
                answer = model.ask(question.turns, question.images, max_new_tokens=self._max_new_tokens)
                self.ns[row_id] = time.perf_counter_ns() - began
            alone[self._asked.digest(row_id, kind)] = answer
        self._tell(len(self._asked.timed))
        return alone

    def _rest(self, model: Answerer, *, batch: int) -> None:
        """Ask what no answer is known to, at most `batch` at once."""
        journal = self._journal(batch)
        known = journal.read() if journal else {}
        self.said |= {digest: answer for digest, answer in known.items() if digest in self._left}
        left = [digest for digest in self._left if digest not in self.said]
        self._tell(len(self._left) - len(left))
        questions = _Questions(self._asked, [self._left[digest] for digest in left])
        with _naming(f"the {self._model} model"):
            for place, answer in model.answers(questions, max_new_tokens=self._max_new_tokens, batch=batch):
                self.said[left[place]] = answer
                if journal:
                    journal.add(left[place], answer)
                self._tell(1)

    def _journal(self, batch: int) -> Journal | None:
        if self._facts is None:
            return None
        decoding = {"max_new_tokens": self._max_new_tokens, "batch": batch}
        return Journal.about({**self._facts, "model": self._model, **decoding})

    def _tell(self, more: int) -> None:
        self._done += more
        if self._progress:
            self._progress(self._model, min(self._done, self._all), self._all)


def _row(
    row: PackRow, asked: Asked, metric_id: str, *, base: Mapping[str, Answer], tuned: Mapping[str, Answer]
) -> dict[str, Any]:
    """Return one row of `eval/rows.jsonl`."""
    own = tuned[asked.digest(row.id, "tuned")]
    said = {kind: (base if kind == "base" else tuned)[asked.digest(row.id, kind)] for kind in asked.kinds}
    return {
        "id": row.id,
        "slice": row.slice,
        "prompt_tokens": own.prompt_tokens,
        "image_tokens": own.image_tokens,
        "patches": own.patches,
        "outputs": {kind: _scored(answer, row, metric_id) for kind, answer in said.items()},
    }


def _scored(answer: Answer, row: PackRow, metric_id: str) -> dict[str, Any]:
    extracted, score = get_metric(metric_id).judge(answer.text, row.gold)
    return {
        "raw": answer.text,
        "extracted": extracted,
        "score": score,
        "tokens": answer.tokens,
        "finish": answer.finish,
    }


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Turn what a model raises into an EvalError that says what it was asked."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as err:
        raise EvalError(
            f"{what}: the model failed: {str(err).splitlines()[0]}",
            hint="out of memory? set generation.batch: 1, or lower processor.max_pixels",
        ) from err

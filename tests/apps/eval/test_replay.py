"""Whoever asks an artifact's models again: one model at a time, one question at a time."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from apps.eval.controls import partners, shown
from apps.eval.replay import ModelReplayer
from kolm.answers import Answer
from kolm.artifact import Artifact
from kolm.errors import EvalError
from kolm.pack import EvalPack, pack_from_members
from kolm.rows import Turn
from kolm.verify import Said
from tests.bundles import make_bundle

KINDS = ("base", "tuned", "perturbed", "grey", "shuffled")


class Model:
    """A model that answers with the colour of the first pixel it is shown, and with its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self, turns: Sequence[Turn], images: Sequence[Any], *, max_new_tokens: int) -> Answer:
        colour = images[0].getpixel((0, 0)) if images else None
        return Answer(f"{self.name} {colour} {turns[0].text!r}", max_new_tokens, "stop", 1, 1, 1)


class Pair:
    """Two models that are counted while they live."""

    def __init__(self) -> None:
        self.opened: list[weakref.ref[Model]] = []

    def open_base(self) -> Model:
        return self._opened(Model("base"))

    def open_tuned(self) -> Model:
        return self._opened(Model("tuned"))

    def _opened(self, model: Model) -> Model:
        assert all(other() is None for other in self.opened), "two models at once"
        self.opened.append(weakref.ref(model))
        return model


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.open(make_bundle(tmp_path_factory.mktemp("bundle"), rows=4).artifact_path)


@pytest.fixture(scope="module")
def pack(artifact: Artifact) -> EvalPack:
    return pack_from_members(artifact.read)


def replayed(artifact: Artifact, pack: EvalPack, pair: Any, **options: Any) -> list[Said]:
    @contextmanager
    def opened(_: Artifact) -> Iterator[Any]:
        yield pair

    replayer = ModelReplayer(opened, lambda _: {"device": "cpu"}, **options)
    return list(replayer.answers(artifact, pack, pack.rows[1:3], KINDS))


def test_every_output_of_the_rows_is_asked_for_as_an_evaluation_shows_it(
    artifact: Artifact, pack: EvalPack
) -> None:
    said = replayed(artifact, pack, Pair())
    assert [(each.kind, each.row) for each in said] == [
        (kind, row.id) for kind in KINDS for row in pack.rows[1:3]
    ]
    rows, longest = {row.id: row for row in pack.rows}, artifact.lock.generation.max_new_tokens
    for each in said:
        row = rows[each.row]
        question = shown(each.kind, row, pack, partner=partners(pack)[row.id])
        model = Model("base" if each.kind == "base" else "tuned")
        assert each.answer == model.ask(question.turns, question.images, max_new_tokens=longest)


def test_the_base_is_gone_before_the_tuned_model_is_opened(artifact: Artifact, pack: EvalPack) -> None:
    pair = Pair()
    replayed(artifact, pack, pair)
    assert len(pair.opened) == 2


def test_progress_is_told_for_each_output(artifact: Artifact, pack: EvalPack) -> None:
    told: list[tuple[str, int, int]] = []
    replayed(artifact, pack, Pair(), progress=lambda *step: told.append(step))
    assert told[:3] == [("base", 1, 2), ("base", 2, 2), ("tuned", 1, 2)]
    assert len(told) == 2 * len(KINDS)


def test_a_model_that_fails_names_the_row(artifact: Artifact, pack: EvalPack) -> None:
    class Exhausted(Model):
        def ask(self, turns: Sequence[Turn], images: Sequence[Any], *, max_new_tokens: int) -> Answer:
            raise RuntimeError("CUDA out of memory\nmore of it")

    pair = Pair()
    pair.open_tuned = lambda: Exhausted("tuned")  # type: ignore[method-assign]
    with pytest.raises(EvalError, match=f"eval row {pack.rows[1].id}: the model failed: CUDA out of memory$"):
        replayed(artifact, pack, pair)

"""Asking two models a pack's questions: which outputs are made, what is timed, asked twice, or not at all."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from apps.eval import run
from apps.eval.run import WARM_UP, Outputs, evaluate
from apps.trainer.bases import find_base
from apps.trainer.foreign import quiet
from apps.trainer.generate import open_model
from kolm.answers import Answer, Answerer, Question
from kolm.draws import TIMED, timed_rows
from kolm.errors import EvalError
from kolm.files import home
from kolm.pack import EvalPack
from kolm.spec import VLMTrainConfig
from tests.apps.eval.packs import Reader, make_pack, said
from tests.digits import QWEN

FACTS = {"lock": "1", "trained": "2"}


def ask(base: Any, tuned: Any, pack: EvalPack, **options: Any) -> Outputs:
    options = {"sees_images": True, "batch": 8} | options
    return evaluate(
        lambda: base, lambda: tuned, pack, metrics={"all": "exact@1"}, max_new_tokens=4, **options
    )


@pytest.fixture
def pack(tmp_path: Path) -> EvalPack:
    return make_pack(tmp_path / "pack", [10, 30, 50, 70, 90, 110])


def test_each_row_holds_five_outputs_with_their_scores(pack: EvalPack):
    outputs = ask(Reader(), Reader(), pack)
    assert [row["id"] for row in outputs.rows] == [row.id for row in pack.rows]
    for row, asked in zip(outputs.rows, pack.rows, strict=True):
        made = row["outputs"]
        assert list(made) == ["base", "tuned", "grey", "shuffled", "perturbed"]
        assert made["base"]["raw"] == made["tuned"]["raw"] == asked.gold[0]
        assert made["tuned"]["score"] == 1
        assert made["grey"] == {
            "raw": "grey", "extracted": "grey", "score": 0, "tokens": 2, "finish": "stop",
        }  # fmt: skip
        assert made["shuffled"]["raw"] != asked.gold[0]
        assert abs(int(made["perturbed"]["raw"]) - int(asked.gold[0])) <= 2  # JPEG is not exact
        assert (row["prompt_tokens"], row["image_tokens"], row["patches"]) == (20, 9, 36)


def test_a_model_that_sees_no_images_has_no_blind_controls(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", [None] * 4)
    outputs = ask(Reader(), Reader(), pack, sees_images=False)
    assert [list(row["outputs"]) for row in outputs.rows] == [["base", "tuned", "perturbed"]] * 4


def test_the_drawn_rows_and_no_others_are_timed_alone_after_a_warm_up(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", range(100, 100 + TIMED + 20))
    base, tuned = Reader(), Reader()
    outputs = ask(base, tuned, pack)
    drawn = timed_rows(pack.digest, [row.id for row in pack.rows])
    assert [timing["id"] for timing in outputs.timings] == drawn
    assert all(timing["base_ns"] > 0 < timing["tuned_ns"] for timing in outputs.timings)
    gold = {row.id: row.gold[0] for row in pack.rows}
    wanted = [gold[row_id] for row_id in drawn]
    assert base.alone == tuned.alone == wanted[:WARM_UP] + wanted
    assert outputs.evaluation == {"batch": 8, "compared": 2 * TIMED, "differing": 0}


def test_equal_questions_to_one_model_are_asked_once(pack: EvalPack):
    """Pictures of one size are one grey one; another's picture with the same prompt is its own question."""
    base, tuned = Reader(), Reader()
    ask(base, tuned, pack)
    own = [row.gold[0] for row in pack.rows]
    assert sorted(base.together) == sorted(own)
    assert tuned.together.count("grey") == 1
    asked = tuned.asked["together"]
    assert len(asked) == len(set(asked)) <= len(own) + 1 + len(own)  # own, grey, perturbed


class Unsteady(Reader):
    """Says one thing otherwise when it is asked with others."""

    def answers(
        self, questions: Sequence[Question], *, max_new_tokens: int, batch: int
    ) -> Iterator[tuple[int, Answer]]:
        for place, answer in super().answers(questions, max_new_tokens=max_new_tokens, batch=batch):
            yield place, said("another") if batch > 1 and answer.text == "30" else answer


def test_one_answer_that_differs_in_a_batch_has_everything_asked_alone(pack: EvalPack):
    base, tuned = Reader(), Unsteady()
    outputs = ask(base, tuned, pack)
    assert outputs.evaluation == {"batch": 8, "compared": 12, "differing": 1}
    assert [row["outputs"]["tuned"]["raw"] for row in outputs.rows] == [row.gold[0] for row in pack.rows]
    assert len(base.alone) == WARM_UP + 6
    assert set(tuned.asked["alone"]) == set(tuned.asked["together"])
    assert len(tuned.alone) == WARM_UP + len(tuned.together)


def test_a_family_that_is_asked_one_at_a_time_has_nothing_to_compare(pack: EvalPack):
    base, tuned = Reader(), Reader()
    outputs = ask(base, tuned, pack, batch=1)
    assert outputs.evaluation == {"batch": 1, "compared": 0, "differing": 0}
    assert not base.together + tuned.together
    assert len(base.alone) == WARM_UP + len(pack.rows)
    assert outputs.rows == ask(Reader(), Reader(), pack).rows


def test_progress_ends_where_it_said_it_would(pack: EvalPack):
    seen: dict[str, list[tuple[int, int]]] = {}
    ask(Reader(), Unsteady(), pack, progress=lambda model, *done: seen.setdefault(model, []).append(done))
    assert list(seen) == ["base", "tuned"]
    for steps in seen.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]


class Broken(Reader):
    def answer(self, question: Question) -> str:
        raise RuntimeError("out of memory\nlong trace")


class BrokenTogether(Reader):
    def answers(self, *_: Any, **__: Any) -> Iterator[tuple[int, Answer]]:
        raise RuntimeError("out of memory")
        yield


@pytest.mark.parametrize(("model", "named"), [(Broken, r"eval row q\d"), (BrokenTogether, "the base model")])
def test_a_model_that_fails_is_named(model: type[Reader], named: str, pack: EvalPack):
    with pytest.raises(EvalError, match=rf"^{named}: the model failed: out of memory$") as caught:
        ask(model(), Reader(), pack)
    assert "generation.batch: 1" in caught.value.hint


def test_a_killed_evaluation_goes_on_where_it_was(pack: EvalPack):
    """The tuned model fails after the base is done: the base is not asked again but for its timed rows."""
    with pytest.raises(EvalError):
        ask(Reader(), BrokenTogether(), pack, facts=FACTS)
    base, tuned = Reader(), Reader()
    again = ask(base, tuned, pack, facts=FACTS)
    assert not base.together
    assert len(base.alone) == WARM_UP + len(pack.rows)
    assert again.rows == ask(Reader(), Reader(), pack).rows
    assert list((home() / "evals").iterdir()) == []


def test_other_facts_are_another_evaluation(pack: EvalPack):
    with pytest.raises(EvalError):
        ask(Reader(), BrokenTogether(), pack, facts=FACTS)
    base = Reader()
    ask(base, Reader(), pack, facts=FACTS | {"trained": "3"})
    assert base.together


class Counting:
    """A real model that counts what it is asked in batches."""

    def __init__(self, model: Answerer) -> None:
        self.model, self.asked = model, 0

    def ask(self, *args: Any, **options: Any) -> Answer:
        return self.model.ask(*args, **options)

    def answers(self, questions: Sequence[Question], **options: Any) -> Iterator[tuple[int, Answer]]:
        for found in self.model.answers(questions, **options):
            self.asked += 1
            yield found


@pytest.mark.parametrize("moment", [1, 10, 26, 40])
def test_a_process_killed_at_any_moment_loses_nothing(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While the timed rows are asked, in the base's batches and in the tuned model's; a real SIGKILL."""
    monkeypatch.setattr(run, "timed_rows", lambda digest, ids: timed_rows(digest, ids)[:5])
    pack = make_pack(tmp_path / "pack", range(0, 240, 10))
    with quiet():
        model = open_model(find_base(QWEN, model="base"), VLMTrainConfig())
        told = 0

        def killed(*_: Any) -> None:
            nonlocal told
            told += 1
            if told == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if not child:
            ask(model, model, pack, facts=FACTS, progress=killed)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        kept = sum(path.read_bytes().count(b"\n") for path in (home() / "evals").glob("*"))
        base, tuned = Counting(model), Counting(model)
        again = ask(base, tuned, pack, facts=FACTS)
        fresh = ask(model, model, pack)
    assert again.rows == fresh.rows
    assert again.evaluation == fresh.evaluation
    everything = Counting(model)
    with quiet():
        ask(everything, everything, pack)
    assert base.asked + tuned.asked == everything.asked - kept
    assert kept == {1: 0, 10: 8, 26: 24, 40: 36}[moment]

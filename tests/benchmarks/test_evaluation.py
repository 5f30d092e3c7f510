"""Evaluating 500 digits against plain batched `generate` loops of transformers over the same questions.

Both sides run in one process on one thread, in turn, and CPU time is compared: it is the wall time of an idle
machine, and other work disturbs it less. `pytest -m slow -s tests/benchmarks` prints the medians.
"""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from apps.eval.controls import kinds, partners, shown
from apps.eval.run import Asked, Run, evaluate
from apps.trainer.foreign import quiet
from apps.trainer.generate import LoadedModel, open_model
from apps.trainer.groups import ROWS_AT_ONCE
from apps.trainer.questions import Encodings
from kolm.answers import Question
from kolm.gallery import Gallery
from kolm.pack import PackRow, pack_of
from kolm.spec import VLMTrainConfig
from tests.digits import PROMPT, QWEN, digits
from tests.training import train

ROWS, ROUNDS, LONGEST = 500, 5, 8


def plain_loop(model: LoadedModel, processor: Any, questions: Sequence[Question]) -> list[str]:
    """Ask in batches of 32 as transformers' documentation does."""
    texts = []
    for begun in range(0, len(questions), 32):
        chunk = questions[begun : begun + 32]
        messages = [
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": one.turns[0].text}]}]
            for one in chunk
        ]
        rendered = [processor.apply_chat_template(one, add_generation_prompt=True) for one in messages]
        images = [list(one.images) for one in chunk]
        batch = processor(text=rendered, images=images, padding=True, return_tensors="pt")
        with torch.no_grad():
            output = model.model.generate(**batch, max_new_tokens=LONGEST, do_sample=False)
        texts += processor.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_evaluating_500_digits_is_as_fast_as_plain_batched_loops(tmp_path: Path):
    with quiet():
        trained = train(QWEN, tmp_path)
        options = {"max_new_tokens": LONGEST, "batch": ROWS_AT_ONCE}
        base, tuned = (
            open_model(trained.trainer.base, VLMTrainConfig(), trained=folder)
            for folder in (None, trained.result.adapter_dir)
        )
        gallery = Gallery(root=Path())
        rows = [
            PackRow(f"q{n}", (gallery.add(picture),), PROMPT, (word,), "all")
            for n, (picture, word) in enumerate(digits(ROWS, start=1200))
        ]
        pack = pack_of(name="digits", rows=rows, gallery=gallery)
        partner = partners(pack)
        made = {
            kind: [shown(kind, row, pack, partner=partner[row.id]) for row in rows]
            for kind in kinds(sees_images=True)
        }
        processor = copy.deepcopy(tuned.encoder.processor)
        processor.tokenizer.padding_side = "left"

        def one_loop() -> list[str]:
            return plain_loop(tuned, processor, made["tuned"])

        def five_loops() -> list[list[str]]:
            models = {kind: base if kind == "base" else tuned for kind in made}
            return [plain_loop(models[kind], processor, questions) for kind, questions in made.items()]

        def batches() -> list[str]:
            said = dict(tuned.answers(made["tuned"], **options))
            return [said[place].text for place in range(ROWS)]

        def tuned_pass() -> Run:
            run = Run("tuned", Asked(pack, ("tuned",)), **options, facts=None, progress=None)
            run.ask(tuned)
            return run

        def whole() -> Any:
            base._encodings = tuned._encodings = Encodings()  # as a job shares them, empty each time
            return evaluate(
                lambda: base, lambda: tuned, pack, metrics={"all": "exact@1"}, sees_images=True, **options
            )

        sides = (one_loop, batches, tuned_pass, five_loops, whole)
        taken: dict[str, list[float]] = {side.__name__: [] for side in sides}
        for side in sides:
            side()
        for _ in range(ROUNDS):
            results = {}
            for side in sides:
                tuned._encodings = None
                seconds, results[side.__name__] = clocked(side)
                taken[side.__name__].append(seconds)
    assert results["batches"] == results["one_loop"]
    outputs = [[row["outputs"][kind]["raw"] for row in results["whole"].rows] for kind in made]
    assert outputs == results["five_loops"]
    assert results["whole"].evaluation == {"batch": 32, "compared": 100, "differing": 0}

    middle = {name: statistics.median(times) for name, times in taken.items()}
    for name, times in taken.items():
        print(f"\n{name:<12} {middle[name]:.3f} s CPU, {min(times):.3f} to {max(times):.3f}", end="")  # noqa: T201
    for ours, theirs in (("batches", "one_loop"), ("tuned_pass", "one_loop"), ("whole", "five_loops")):
        print(f"\n{theirs} / {ours}: {middle[theirs] / middle[ours]:.2f}", end="")  # noqa: T201
    assert middle["whole"] <= middle["five_loops"]

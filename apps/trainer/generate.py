"""Ask a model: the base alone, or the base with what was trained, one question at once or several, greedy."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.batch import Row, collate
from apps.trainer.collate import Encoder
from apps.trainer.decoders import SEQUENCE, sequence_of
from apps.trainer.groups import passes, row_of
from apps.trainer.load import load_model
from apps.trainer.processor import load_processor
from apps.trainer.questions import Encodings, encoded
from apps.trainer.reopen import check_loaded, open_trained
from kolm.answers import Answer, Question
from kolm.modules import ModuleManifest
from kolm.rows import Turn
from kolm.spec import VLMTrainConfig

AHEAD = 16
"""Batches that are encoded before the first of them is asked, so that like finds like."""

AHEAD_BYTES = 1 << 29
"""Memory of encoded questions past which no more are encoded ahead."""


class LoadedModel:
    """A loaded model with its processor."""

    def __init__(self, model: Any, encoder: Encoder, encodings: Encodings | None = None) -> None:
        self.model = model
        self.encoder = encoder
        self._encodings = encodings

    def ask(self, turns: Sequence[Turn], images: Sequence[Any], *, max_new_tokens: int) -> Answer:
        """Return the greedy answer to a conversation, batch of one. `images` are PIL images, in order."""
        inputs = self.encoder.prompt(turns, images)
        cost = self.encoder.cost(inputs)
        row = row_of(inputs, family=self.encoder.family, cost=cost, images=len(images))
        return self._generate([row], max_new_tokens)[0]

    def answers(
        self, questions: Sequence[Question], *, max_new_tokens: int, batch: int
    ) -> Iterator[tuple[int, Answer]]:
        """Yield the greedy answer to each question with its place, in any order, at most `batch` at once.

        As many at once as the family allows (`Family.batches`); a question is encoded shortly before it is
        asked. Raises DataError.
        """
        begun = 0
        while begun < len(questions):
            rows = self._encoded(questions, begun, batch=batch)
            allowed = self.encoder.family.batches
            for places in passes(rows, batches=allowed, size=batch, more=max_new_tokens):
                said = self._generate([rows[place] for place in places], max_new_tokens)
                yield from zip((begun + place for place in places), said, strict=True)
            begun += len(rows)

    def _encoded(self, questions: Sequence[Question], begun: int, *, batch: int) -> list[Row]:
        """Encode the next questions, as many as are wanted ahead or as there is room for."""
        rows: list[Row] = []
        end = min(begun + batch * AHEAD, len(questions))
        while begun + len(rows) < end and sum(row.size_bytes for row in rows) < AHEAD_BYTES:
            start = begun + len(rows)
            rows += self._rows([questions[place] for place in range(start, min(start + 4 * batch, end))])
        return rows

    def _rows(self, questions: Sequence[Question]) -> list[Row]:
        encode = self._encodings.of if self._encodings else encoded
        return [
            row_of(inputs, family=self.encoder.family, cost=self.encoder.cost(inputs), images=len(one.images))
            for one, inputs in zip(questions, encode(self.encoder, questions), strict=True)
        ]

    def _generate(self, rows: Sequence[Row], max_new_tokens: int) -> list[Answer]:
        """Ask rows in one pass."""
        import torch

        tokenizer = self.encoder.processor.tokenizer
        inputs = rows[0].inputs
        start = {"decoder_start_token_id": int(inputs[SEQUENCE][0, 0])} if SEQUENCE in inputs else {}
        if len(rows) > 1:
            inputs = collate(rows, pad_token=tokenizer.pad_token_id or 0, to_be_continued=True)
            del inputs["labels"]
        batch = {key: tensor.to(self.model.device) for key, tensor in inputs.items()}
        with torch.inference_mode():
            output = self.model.generate(
                **batch, **start, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, use_cache=True
            )
        begun = sequence_of(inputs).shape[1]
        written = output[:, begun:].tolist()  # [rows][generated, padding behind an end]
        return [self._answer(row, ids) for row, ids in zip(rows, written, strict=True)]

    def _answer(self, row: Row, ids: list[int]) -> Answer:
        """Cut what was generated behind its first end token."""
        ends = self._ends()
        end = next((place for place, token in enumerate(ids) if token in ends), None)
        said = ids if end is None else ids[: end + 1]
        text = self.encoder.processor.tokenizer.decode(said, skip_special_tokens=True)
        return Answer(
            text=text.strip(),
            tokens=len(said),
            finish="length" if end is None else "stop",
            prompt_tokens=int(row.inputs.get("input_ids", row.labels).shape[1]),
            image_tokens=row.cost.tokens,
            patches=row.cost.patches,
        )

    def _ends(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}


def open_model(
    base: Base,
    config: VLMTrainConfig,
    *,
    trained: Path | None = None,
    manifest: ModuleManifest | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    encodings: Encodings | None = None,
) -> LoadedModel:
    """Load a base as it was trained on, with what was trained if that is given, ready to be asked.

    `trained` is a folder with an adapter or weights. With a manifest, every trained tensor in the live
    model is compared with the digest the manifest has for it. `encodings` are shared by models that are asked
    the same. Raises TrainError, EvalError.
    """
    model = load_model(base, config)
    if trained is not None:
        model = open_trained(model, trained)
        if manifest is not None:
            check_loaded(model, manifest)
    model.eval()
    processor = load_processor(base, min_pixels=min_pixels, max_pixels=max_pixels)
    return LoadedModel(model, Encoder(processor, model.config, base.family), encodings)

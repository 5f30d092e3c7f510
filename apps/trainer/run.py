"""Use a compiled model from Python: one question, or a whole table of them."""

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.trainer.bases import recall_base
from apps.trainer.generate import LoadedModel, open_model
from kolm.artifact import Artifact, check_members
from kolm.errors import DataError
from kolm.files import write_atomic
from kolm.gallery import Gallery
from kolm.pairs import Refusal, aliased, read_records, told
from kolm.rows import ImagePart, Part, TextPart, Turn, check_text, refused
from kolm.spec import VLMTrainConfig


class CompiledModel:
    """A base with the adapter of one artifact, ready to be asked.

    `with CompiledModel.open("digits.kolm") as model: model.ask(["digit.png"], "Which digit is it?")`
    """

    def __init__(self, model: LoadedModel, *, max_new_tokens: int) -> None:
        self._model = model
        self._max_new_tokens = max_new_tokens

    @classmethod
    @contextmanager
    def open(
        cls, artifact: Path | str, *, base: Path | None = None, max_new_tokens: int | None = None
    ) -> Iterator["CompiledModel"]:
        """Load an artifact and the base it was compiled from, whose files are checked one by one.

        Its members must be those of its manifest; whose artifact it is, only `kolm verify` says.
        Raises ArtifactError, VerificationError, TrainError when the base is not on this machine,
        EvalError when the adapter does not load as it was saved.
        """
        opened = Artifact.open(Path(artifact))
        check_members(opened)
        identity = opened.manifest.base.model_dump()
        found = recall_base(identity, directory=base)
        config = VLMTrainConfig.model_validate(opened.lock.config)
        pixels = opened.lock.processor.model_dump(include={"min_pixels", "max_pixels"})
        with tempfile.TemporaryDirectory(prefix="kolm-") as folder:
            adapter = Path(folder)
            for name in opened.members("adapter"):
                (adapter / Path(name).name).write_bytes(opened.read(name))
            model = open_model(found, config, adapter=adapter, manifest=opened.modules, **pixels)
            longest = max_new_tokens or opened.lock.generation.max_new_tokens
            yield cls(model, max_new_tokens=longest)

    def ask(self, images: Sequence[Any], prompt: str, *, root: Path | None = None) -> str:
        """Return the greedy answer to a question about images: paths, PIL images or base64.

        Raises DataError.
        """
        gallery = Gallery(root=root or Path())
        cids = [gallery.add(image) for image in images]
        asked = TextPart(check_text(prompt, what="prompt"))
        content: tuple[Part, ...] = (*(ImagePart(cid) for cid in cids), asked)
        pictures = [gallery.image(cid) for cid in cids]
        return self._model.ask([Turn("user", content)], pictures, max_new_tokens=self._max_new_tokens).text


def answer_table(model: CompiledModel, rows: Path, *, out: Path) -> int:
    """Answer every row of a table and write it with a `response` column; returns the number of rows.

    Input and output are JSON Lines or CSV by their endings; `image` or `image_path` is relative to the
    table, the question is `prompt` or `question`. Nothing is written unless every row was answered.
    Raises DataError naming the row.
    """
    records = []
    for row in _read(rows):
        try:
            answer = model.ask(row.images, row.prompt, root=rows.parent)
        except DataError as err:
            raise DataError(f"{rows} row {row.number}: {err.message}", hint=err.hint) from err
        records.append({**row.record, "response": answer})
    write_atomic(out, _written(records, csv_table=out.suffix.lower() == ".csv"))
    return len(records)


@dataclass(frozen=True)
class _Row:
    """One question of a table, with everything else that its row says."""

    number: int
    record: Mapping[str, Any]
    images: list[Any]
    prompt: str

    @classmethod
    def of(cls, number: int, record: Mapping[str, Any]) -> "_Row":
        """Read a record by the names that pairs have, and their aliases. Raises DataError."""
        image, prompt = aliased(record, "image"), aliased(record, "prompt")
        if not image or not prompt:
            raise refused("needs an image and a prompt")
        check_text(prompt, what="prompt")
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError as err:
            raise refused("it holds half of a surrogate pair, which cannot be written") from err
        return cls(number, record, image if isinstance(image, list) else [image], prompt)


def _read(path: Path) -> list[_Row]:
    """Read a whole table. Raises DataError naming every row that cannot be asked."""
    rows: list[_Row] = []
    refusals: list[Refusal] = []
    for number, record in read_records(path, any_columns=True):
        try:
            if isinstance(record, DataError):
                raise record
            rows.append(_Row.of(number, record))
        except DataError as err:
            refusals.append(Refusal(number, err.message))
    columns = "columns are image (or image_path) and prompt (or question)"
    if refusals:
        raise DataError(f"{path}: {told(refusals)}", hint=columns)
    if not rows:
        raise DataError(f"{path} holds no rows", hint=columns)
    return rows


def _written(records: list[dict[str, Any]], *, csv_table: bool) -> bytes:
    if not csv_table:
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    columns = list(dict.fromkeys(column for record in records for column in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()

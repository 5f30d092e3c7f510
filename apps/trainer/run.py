"""Use a compiled model from Python: one question, or a whole table of them."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.trainer.generate import LoadedModel
from apps.trainer.pair import ModelPair
from kolm.artifact import Artifact, check_members
from kolm.errors import DataError
from kolm.files import write_atomic
from kolm.gallery import Gallery
from kolm.pairs import Refusal, aliased, read_records, told
from kolm.rows import ImagePart, Part, TextPart, Turn, check_text, refused


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
        cls,
        artifact: Path | str,
        *,
        base: Path | None = None,
        max_new_tokens: int | None = None,
        trust_code: bool = False,
    ) -> Iterator["CompiledModel"]:
        """Load an artifact and the base it was compiled from, whose files are checked one by one.

        Its members must be those of its manifest; whose artifact it is, only `kolm verify` says. A base
        that runs Python code of its own is loaded only with `trust_code`.
        Raises ArtifactError, VerificationError, SpecError, TrainError when the base is not on this machine,
        EvalError when what was trained does not load as it was saved.
        """
        opened = Artifact.open(Path(artifact))
        check_members(opened)
        longest = max_new_tokens or opened.lock.generation.max_new_tokens
        with ModelPair.open(opened, base=base, trust_code=trust_code) as pair:
            yield cls(pair.open_tuned(), max_new_tokens=longest)

    @property
    def sees_images(self) -> bool:
        """Whether questions come with images; a text-only model is asked without."""
        return self._model.encoder.family.sees_images

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

    A table that has a column of that name is refused: what it holds would be lost. Input and output are JSON
    Lines or CSV by their endings; `image` or `image_path` is relative to the table, the question is `prompt`
    or `question`. Nothing is written unless every row was answered. Raises DataError naming the row.
    """
    records = []
    for row in _read(rows, sees_images=model.sees_images):
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
    def of(cls, number: int, record: Mapping[str, Any], *, sees_images: bool) -> "_Row":
        """Read a record by the names that pairs have, and their aliases. Raises DataError."""
        image, prompt = aliased(record, "image"), aliased(record, "prompt")
        if not prompt or (sees_images and not image):
            raise refused("needs an image and a prompt" if sees_images else "needs a prompt")
        if "response" in record:
            raise refused("it has a `response` column, where the answer would go; call it something else")
        check_text(prompt, what="prompt")
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError as err:
            raise refused("it holds half of a surrogate pair, which cannot be written") from err
        images = image if isinstance(image, list) else [image] if image else []
        return cls(number, record, images, prompt)


def _read(path: Path, *, sees_images: bool) -> list[_Row]:
    """Read a whole table. Raises DataError naming every row that cannot be asked."""
    rows: list[_Row] = []
    refusals: list[Refusal] = []
    for number, record in read_records(path, any_columns=True):
        try:
            if isinstance(record, DataError):
                raise record
            rows.append(_Row.of(number, record, sees_images=sees_images))
        except DataError as err:
            refusals.append(Refusal(number, err.message))
    columns = "columns are prompt (or question) and, unless the model is text-only, image (or image_path)"
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

"""Use a compiled model from Python: one question, or a whole table of them."""

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apps.trainer.generate import LoadedModel, open_model
from apps.trainer.load import recall_base
from kolm.artifact import Artifact
from kolm.errors import DataError
from kolm.files import write_atomic
from kolm.gallery import Gallery
from kolm.rows import ImagePart, TextPart, Turn, check_text


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

        Raises ArtifactError, TrainError when the base is not on this machine, EvalError when the
        adapter does not load as it was saved.
        """
        opened = Artifact.open(Path(artifact))
        identity = opened.manifest.base.model_dump()
        found = recall_base(identity, directory=base)
        limits = {key: opened.lock.processor.get(key) for key in ("min_pixels", "max_pixels")}
        with tempfile.TemporaryDirectory(prefix="kolm-") as folder:
            adapter = Path(folder)
            for name in opened.members("adapter"):
                (adapter / Path(name).name).write_bytes(opened.read(name))
            model = open_model(found, adapter=adapter, manifest=opened.modules, **limits)
            longest = max_new_tokens or int(opened.lock.generation["max_new_tokens"])
            yield cls(model, max_new_tokens=longest)

    def ask(self, images: Sequence[Any], prompt: str, *, root: Path | None = None) -> str:
        """Return the greedy answer to a question about images: paths, PIL images or base64.

        Raises DataError.
        """
        gallery = Gallery(root=root or Path())
        cids = [gallery.add(image) for image in images]
        content = (*(ImagePart(cid) for cid in cids), TextPart(check_text(prompt, what="prompt")))
        pictures = [gallery.image(cid) for cid in cids]
        return self._model.ask([Turn("user", content)], pictures, max_new_tokens=self._max_new_tokens).text


def answer_table(model: CompiledModel, rows: Path, *, out: Path) -> int:
    """Answer every row of a table and write it with a `response` column; returns the number of rows.

    Input and output are JSON Lines or CSV by their endings; `image` or `image_path` is relative to the
    table, the question is `prompt` or `question`. Nothing is written unless every row was answered.
    Raises DataError naming the row.
    """
    records = _read(rows)
    for number, record in enumerate(records, start=1):
        image = record.get("image", record.get("image_path"))
        prompt = record.get("prompt", record.get("question"))
        if not image or not prompt:
            raise DataError(
                f"{rows} row {number}: needs an image and a prompt",
                hint="columns are image (or image_path) and prompt (or question)",
            )
        try:
            images = image if isinstance(image, list) else [image]
            record["response"] = model.ask(images, prompt, root=rows.parent)
        except DataError as err:
            raise DataError(f"{rows} row {number}: {err.message}", hint=err.hint) from err
    write_atomic(out, _written(records, csv_table=out.suffix.lower() == ".csv"))
    return len(records)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            records = [dict(record) for record in csv.DictReader(io.StringIO(text))]
        else:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, csv.Error) as err:
        raise DataError(
            f"{path} cannot be read as a table: {err}", hint="use JSON Lines or CSV in UTF-8"
        ) from err
    if not records or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path} holds no rows", hint='one JSON object a line: {"image": ..., "prompt": ...}')
    return records


def _written(records: list[dict[str, Any]], *, csv_table: bool) -> bytes:
    if not csv_table:
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    columns = list(dict.fromkeys(column for record in records for column in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()

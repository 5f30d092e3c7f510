"""The spec: what to compile, from what, trained how, judged by what.

`load_spec` reads a YAML file into a `CompileSpec` whose every key can be located in the file again, so
that a mistake found later still points at its line. specs/formats/spec.md is the reader's page.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from kolm.errors import SpecError
from kolm.sections import Backend, Base, Data, Eval, Generation, Processor, Registry, Sign
from kolm.trainconfig import (
    SEVEN_PROJECTIONS,
    Finding,
    Parts,
    Quantization,
    Section,
    VLMTrainConfig,
    refuse_unsupported,
    unsupported,
)
from kolm.validation import mistakes_in, nearest, show
from kolm.yamldoc import MAX_BYTES, Mistake, YamlDocument, read_yaml

__all__ = [
    "SEVEN_PROJECTIONS",
    "CompileSpec",
    "Finding",
    "LoadedSpec",
    "Parts",
    "Quantization",
    "VLMTrainConfig",
    "json_schema",
    "load_spec",
    "parse_spec",
    "refuse_unsupported",
    "schema_text",
    "unsupported",
]

HINT = "`kolm schema` lists every key; specs/formats/spec.md explains them"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?\Z")


class CompileSpec(Section):
    """A kolm spec, version 1."""

    kolm: Literal[1]
    """Version of this format."""
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    """Name of the result; the files are called `<name>.kolm`, `<name>.receipt.json`, ..."""
    task: Annotated[str, Field(max_length=500)] = ""
    """What the model is for, in words."""
    base: Base
    """The model that is adapted."""
    processor: Processor = Processor()
    """Image size limits."""
    data: Data
    """The pairs."""
    train: VLMTrainConfig = VLMTrainConfig()
    """How the model is trained."""
    generation: Generation = Generation()
    """How answers are generated."""
    eval: Eval
    """How the result is judged."""
    backend: Backend = Backend()
    """Where the training runs."""
    sign: Sign = Sign()
    """Who signs the receipt."""
    registry: Registry | None = None
    """Where the result is pushed."""

    @model_validator(mode="after")
    def _validation_rows(self) -> "CompileSpec":
        if self.data.validation is None and self.data.split is None:
            for key, given in (("keep", self.train.keep == "best"), ("eval_steps", self.train.eval_steps)):
                if given:
                    text = f"`train.{key}` needs validation rows: give `data.validation` or `data.split`"
                    raise PydanticCustomError("contradiction", "{text}", {"at": ("train", key), "text": text})
        return self


@dataclass(frozen=True)
class LoadedSpec:
    """A spec together with the file it was read from."""

    spec: CompileSpec
    path: Path
    text: bytes
    document: YamlDocument

    @property
    def root(self) -> Path:
        """The directory that the paths of the spec are relative to."""
        return self.path.parent

    def locate(self, *keys: str | int) -> str:
        """Return `file:line:column` of a key's value, or of its nearest parent."""
        return self.document.locate(*keys)

    def error(self, *keys: str | int, message: str, hint: str = "", note: str = "") -> SpecError:
        """Build a SpecError that shows the line of a key."""
        found = self.document.error([Mistake(keys, message, note)], hint=hint)
        return SpecError(found.message, hint=found.hint)

    def base_source(self) -> Path | str:
        """Return the base as a directory if the spec names one, else as a hub id. Raises SpecError."""
        model = self.spec.base.model
        place = self.root / model
        if _is_directory(place):
            return place
        near = nearest(place.name, _directories(place.parent))
        meant_here = _is_file(place) or (near and "/" not in model)  # hub models have an owner
        if meant_here or model.startswith(".") or not _HUB_ID.match(model):
            note = f"did you mean `{(Path(model).parent / near).as_posix()}`?" if near else ""
            raise self.error(
                "base",
                "model",
                message=f"no directory `{model}`",
                note=note,
                hint="give a directory relative to the spec, or a hub id such as org/name",
            )
        return model


def load_spec(path: Path) -> LoadedSpec:
    """Read and check a spec file. Raises SpecError with file, line and column."""
    path = Path(path)
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as err:
        raise _unreadable(path, err) from err
    return parse_spec(data, path=path)


def parse_spec(data: bytes, *, path: Path) -> LoadedSpec:
    """Check the bytes of a spec; `path` names them and roots its relative paths. Raises SpecError."""
    document = read_yaml(data, name=str(path))
    version = document.value.get("kolm", 1)
    if type(version) is not int or version != 1:  # another version may mean anything by its other keys
        text = f"this kolm reads specs of version 1, not {show(version)}"
        raise document.error(
            [Mistake(("kolm",), text)], hint="write `kolm: 1`, or install the kolm that reads it"
        )
    try:
        spec = CompileSpec.model_validate(document.value)
    except ValidationError as err:
        raise document.error(mistakes_in(err, CompileSpec), hint=HINT) from err
    found = [Mistake(finding.path, finding.message) for finding in _unsupported(spec)]
    if found:
        raise document.error(found, hint="remove the setting, or choose another value")
    return LoadedSpec(spec, path, data, document)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec, for editors."""
    schema = CompileSpec.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:kolm:schema:spec:1"}
    return {**head, **schema, "title": "kolm spec, version 1"}


def schema_text() -> str:
    """Return the JSON Schema as the text that `specs/formats/schema/spec.schema.json` holds."""
    return json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _unsupported(spec: CompileSpec) -> list[Finding]:
    """List the settings of a whole spec that are understood but not built."""
    found = [Finding(("train", *f.path), f.message) for f in unsupported(spec.train)]
    if spec.backend.type != "local":
        found.append(Finding(("backend", "type"), f"not supported yet: backend `{spec.backend.type}`"))
    return found


def _unreadable(path: Path, err: OSError) -> SpecError:
    """Say why a spec file could not be opened, naming the file that was probably meant."""
    if isinstance(err, IsADirectoryError):
        return SpecError(f"{path} is a directory", hint=f"name the file in it: {path / 'spec.yaml'}")
    if isinstance(err, FileNotFoundError):
        near = nearest(path.name, sorted(p.name for p in path.parent.glob("*.y*ml")))
        meant = f"did you mean {path.parent / near}?" if near else "`kolm init --demo digits DIR` writes one"
        return SpecError(f"no spec at {path}", hint=meant)
    return SpecError(f"{path} cannot be read: {err.strerror}", hint="check its name and permissions")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that no file can have
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _directories(parent: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in parent.iterdir() if entry.is_dir())
    except (OSError, ValueError):
        return []

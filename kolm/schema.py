"""Closed schemas: what a document may hold, and nothing else.

Every signed or hashed document is read through a model that refuses unknown members and converts
nothing, because a member that nobody reads could change what the rest means.
"""

from typing import Annotated, Any, TypeVar, overload

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from kolm.errors import ArtifactError
from kolm.instants import PATTERN, read_instant

Hex = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
"""A SHA-256 digest as 64 lower-case hexadecimal digits."""

RunId = Annotated[str, Field(pattern=r"\A[0-9a-f]{32}\z")]
"""128 random bits that name one run of one compile."""


def _on_the_calendar(text: str) -> str:
    read_instant(text)
    return text


Timestamp = Annotated[str, Field(pattern=rf"\A{PATTERN}\z"), AfterValidator(_on_the_calendar)]
"""A UTC time in whole seconds, as RFC 3339 writes it: `2026-01-31T12:00:00Z`, on a day that exists."""

Count = Annotated[int, Field(ge=0)]


class Closed(BaseModel):
    """A document part with exactly the declared members, each of exactly the declared type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=BaseModel)


@overload
def read_model(model: type[Model], value: Any, *, what: str) -> Model: ...
@overload
def read_model(model: TypeAdapter[Model], value: Any, *, what: str) -> Model: ...
def read_model(model: type[Model] | TypeAdapter[Model], value: Any, *, what: str) -> Model:
    """Return parsed JSON as `model`. Raises ArtifactError (E_SCHEMA) naming the first wrong member."""
    try:
        if isinstance(model, TypeAdapter):
            return model.validate_python(value)
        return model.model_validate(value)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "document"
        raise ArtifactError(
            f"{what}: {place}: {first['msg']}",
            check="E_SCHEMA",
            hint="The document was not written by this version of kolm, or was changed afterwards.",
        ) from err

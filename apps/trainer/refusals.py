"""What the hub's refusals mean for the reader of a spec: one message each.

A name that the hub does not have is the spec's mistake; a hub that cannot or may not be asked is not.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kolm.errors import KolmError, SpecError, TrainError
from kolm.files import refusal

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def cache_folder(model: str) -> Path:
    """Where the hub client keeps a model: `refs/`, `blobs/`, `snapshots/`, `trees/`."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / f"models--{model.replace('/', '--')}"


def endpoint() -> str:
    """Return the address of the hub that is asked (HF_ENDPOINT)."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def not_cached(what: str) -> TrainError:
    """Say that offline mode lacks something."""
    return TrainError(
        f"{what} is not in the cache, and HF_HUB_OFFLINE forbids asking the hub",
        hint="fetch it once where there is a network, or unset HF_HUB_OFFLINE",
    )


def unanswered(err: KolmError) -> bool:
    """Say whether the hub was not asked, or nobody answered."""
    import httpx2
    from huggingface_hub import is_offline_mode

    return is_offline_mode() or isinstance(err.__cause__, httpx2.TransportError)


@contextmanager
def told(model: str, revision: str | None) -> Iterator[None]:
    """Turn what the hub client raises into one of ours."""
    import httpx2
    from huggingface_hub.errors import XetDownloadError

    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, XetDownloadError, OSError, ValueError, RuntimeError) as err:
        raise _refusal(err, model=model, revision=revision) from err


def _refusal(err: Exception, *, model: str, revision: str | None) -> KolmError:
    """Say what a failed call to the hub means for the reader of the spec."""
    import httpx2
    from huggingface_hub.errors import (
        FileMetadataError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    if isinstance(err, LocalEntryNotFoundError) and isinstance(err.__cause__, Exception):
        return _refusal(err.__cause__, model=model, revision=revision)
    if isinstance(err, HfHubHTTPError):
        return _answered(err, model=model, revision=revision)
    if isinstance(err, httpx2.TransportError):
        return TrainError(
            f"{model}: no connection to the hub at {endpoint()} ({type(err).__name__})",
            hint="check the network and HF_ENDPOINT; HF_HUB_OFFLINE=1 uses what is in the cache",
        )
    if isinstance(err, HFValidationError):
        return SpecError(f"{model!r} is not the id of a hub model", hint="it is org/name")
    if isinstance(err, FileMetadataError | httpx2.HTTPError | httpx2.InvalidURL | json.JSONDecodeError):
        return TrainError(f"{endpoint()} does not answer like a hub", hint="check HF_ENDPOINT and the proxy")
    if isinstance(err, OSError) and err.errno in _DISK:
        return refusal(err, action="write to", path=Path(err.filename or cache_folder(model)))
    if "Consistency check failed" in str(err):
        return TrainError(f"{model}: a file arrived incomplete", hint="run it again; what is whole is kept")
    reason = (str(err).strip().splitlines() or [type(err).__name__])[0]
    return TrainError(f"{model} could not be fetched: {reason}", hint="run it again")


def _answered(err: Any, *, model: str, revision: str | None) -> KolmError:
    """Say what the hub's refusal means; `err` is a HfHubHTTPError."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status, page = err.response.status_code, f"{endpoint()}/{model}"
    if isinstance(err, GatedRepoError):
        whose = "the account of HF_TOKEN" if get_token() else "an account whose token is in HF_TOKEN"
        return TrainError(
            f"{model} is gated: its licence has to be accepted first",
            hint=f"accept it at {page} with {whose}",
        )
    if isinstance(err, DisabledRepoError):
        return TrainError(f"{model} was disabled by the hub", hint=f"{page} may say why")
    if isinstance(err, RevisionNotFoundError):
        return SpecError(
            f"{model} has no revision {revision!r}",
            hint="base.revision is a branch, a tag or a commit of all 40 digits, in quotes",
        )
    if isinstance(err, RemoteEntryNotFoundError):
        return SpecError(f"{model} lacks a file that a checkpoint has", hint=f"look at {page}/tree/main")
    if isinstance(err, RepositoryNotFoundError):
        private = "" if get_token() else "; a private one needs a token in HF_TOKEN"
        return SpecError(
            f"there is no model {model} on {endpoint()}, or it is private", hint=f"check base.model{private}"
        )
    if status == 401:
        return TrainError(
            f"{endpoint()} does not know the token in use",
            hint="set HF_TOKEN to a valid one, or unset it; `hf auth whoami` asks the hub",
        )
    if status == 403:
        return TrainError(f"the token in use may not read {model}", hint="give HF_TOKEN the right to read it")
    if status == 429:
        return TrainError(
            f"{endpoint()} asks to wait (HTTP 429)", hint="run it later; HF_TOKEN raises the limit"
        )
    return TrainError(f"{endpoint()} failed (HTTP {status}) over {model}", hint="run it again later")

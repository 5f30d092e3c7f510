"""Point this process' hub client at a hub, with a cache of its own."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.hub.server import Hub


def use(hub: Hub | str, cache: Path, monkeypatch: pytest.MonkeyPatch, *, offline: bool = False) -> None:
    """Do what HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE do; the client reads them when it is imported."""
    url = hub if isinstance(hub, str) else hub.url
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)

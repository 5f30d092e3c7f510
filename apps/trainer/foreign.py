"""Foreign libraries at the boundary: silenced while they load, their exceptions turned into ours."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from kolm.errors import KolmError, TrainError

# peft imports bitsandbytes wherever it is installed, which warns of a kernel that nobody asked for
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' and peft's progress bars and advice; errors still reach the caller."""
    from transformers.utils import logging as voice

    bars = voice.is_progress_bar_enabled()
    handlers = [(handler, handler.level) for handler in logging.getLogger("transformers").handlers]
    for (
        handler,
        before,
    ) in handlers:  # a logger's own level empties the caches of all
        handler.setLevel(max(before, logging.ERROR))
    voice.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings(
                "ignore", message="The PEFT config's `base_model_name_or_path` was renamed"
            )
            yield
    finally:
        for handler, before in handlers:
            handler.setLevel(before)
        if bars:
            voice.enable_progress_bar()


@contextlib.contextmanager
def translated(failure: str, *, hint: str, error: type[KolmError] = TrainError) -> Iterator[None]:
    """Turn whatever transformers, torch, safetensors or a chat template raises into one of ours."""
    from huggingface_hub.errors import StrictDataclassError
    from jinja2 import TemplateError
    from safetensors import SafetensorError

    raised = (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
    others = (AssertionError, StrictDataclassError, TemplateError, SafetensorError)
    try:
        with quiet():
            yield
    except (*raised, *others) as err:
        lines = str(err).strip().splitlines()
        raise error(f"{failure}: {lines[0] if lines else type(err).__name__}", hint=hint) from err

"""Foreign libraries at the boundary: silenced while they load, their exceptions turned into ours."""

import contextlib
import warnings
from collections.abc import Iterator

from kolm.errors import KolmError, TrainError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' and peft's progress bars and advice; errors still reach the caller."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


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

"""Level 1 of `kolm verify`: what its options ask for, and who asks the models."""

import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kolm.cli.bars import Bars
from kolm.cli.console import note, require_extra
from kolm.cli.pack import read_pack
from kolm.errors import SpecError

if TYPE_CHECKING:
    from kolm.verify import Replay


def replay(
    rows: str | None,
    nonce: str | None,
    pack: Path | None,
    *,
    base: Path | None,
    trust_code: bool,
    bars: Bars,
) -> "Replay":
    """Join the two apps for level 1: the trainer opens an artifact's models, the evaluator asks them.

    Raises SpecError for what is misspelt, TrainError without torch, DataError.
    """
    from kolm.verify import Replay

    count, drawn_by, whole = _rows(rows), _nonce(nonce), read_pack(pack) if pack else None
    require_extra("torch", "train")
    from apps.eval.replay import ModelReplayer
    from apps.trainer.pair import ModelPair, environment_for

    note(f"nonce    {drawn_by.hex()}: the same rows again with --nonce")
    opened = partial(ModelPair.open, base=base, trust_code=trust_code)
    return Replay(ModelReplayer(opened, environment_for, progress=bars.asking), drawn_by, count, whole)


def _rows(text: str | None) -> int | None:
    """Read `--rows`; None is all of them. Raises SpecError."""
    from kolm.verify import ROWS

    if text is None or text == "all":
        return ROWS if text is None else None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise SpecError(f"--rows {text[:20]!r} is not a number of rows", hint="give a number from 1, or all")
    return int(text)


def _nonce(text: str | None) -> bytes:
    """Read `--nonce`, or draw one. Raises SpecError."""
    try:
        drawn_by = secrets.token_bytes(16) if text is None else bytes.fromhex(text)
    except ValueError:
        drawn_by = b""
    if not 8 <= len(drawn_by) <= 64:
        raise SpecError(
            f"--nonce {(text or '')[:40]!r} is not 8 to 64 bytes in hex digits",
            hint="leave it out for a random one, which is printed",
        )
    return drawn_by

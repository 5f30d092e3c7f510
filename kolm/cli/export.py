"""`kolm export`: a compiled model as a folder that PEFT or transformers loads as it is."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kolm.cli.console import command, emit, note, require_extra
from kolm.cli.options import AsJson, MovedBase, TrustCode

if TYPE_CHECKING:
    from apps.trainer.export import Exported


class Form(StrEnum):
    """What an export is."""

    PEFT = "peft"
    MERGED = "merged"


class Dtype(StrEnum):
    """Type of merged weights."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


@command
def export(
    artifact: Annotated[Path, typer.Argument(help="Compiled artifact (.kolm).")],
    to: Annotated[Form, typer.Option(help="An adapter for PEFT, or a whole checkpoint for transformers.")],
    out: Annotated[Path, typer.Option(help="New folder to write.")],
    base: MovedBase = None,
    receipt: Annotated[
        Path | None, typer.Option(help="Its receipt; the .receipt.json beside it by default.")
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Of merged weights.", show_default="bfloat16; float16 stays")
    ] = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Write a compiled model as a PEFT adapter or a merged 16-bit checkpoint, with model card and receipt."""
    require_extra("torch", "train")
    from apps.trainer import export as exporter

    note("not verified: `kolm verify` checks signatures and claims")
    written = exporter.export(
        artifact,
        to=to.value,
        out=out,
        base=base,
        receipt=receipt,
        dtype=None if dtype is None else dtype.value,
        trust_code=trust_code,
    )
    for line in _notes(written):
        note(line)
    facts = {"out": str(out), "form": written.form, "dtype": written.dtype, "difference": written.compared}
    emit(facts if as_json else str(out), as_json=as_json)


def _notes(written: "Exported") -> list[str]:
    """Say what was compared, and what is not in the folder."""
    if written.compared is None:
        lines = ["the base is not on this machine: PEFT was not tried on it; --base DIR does that"]
    elif written.form == "peft":
        lines = ["PEFT loads it on the base: every trained tensor is there"]
    else:
        lines = [
            f"loaded again: logits differ by {written.compared:.2%} of the largest from the adapted model's"
        ]
    if not written.receipt:
        lines.append("no receipt: name it with --receipt, and the card says how well it does")
    return lines

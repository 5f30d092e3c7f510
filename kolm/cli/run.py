"""`kolm run`: ask a compiled model one question, or every question of a table."""

from pathlib import Path
from typing import Annotated

import typer

from kolm.cli.console import command, emit, note, require_extra
from kolm.cli.options import AsJson, MovedBase, TrustCode


@command
def run(
    artifact: Annotated[Path, typer.Argument(help="Compiled artifact (.kolm).")],
    image: Annotated[list[Path] | None, typer.Option(help="Image to ask about; repeat for several.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Question.")] = None,
    rows: Annotated[Path | None, typer.Option(help="Table of questions: .jsonl or .csv.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the answered table.")] = None,
    base: MovedBase = None,
    trust_code: TrustCode = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens; the artifact's own by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question about an image with a compiled model, or a whole table of them."""
    from kolm.errors import SpecError

    single = prompt is not None
    if single == (rows is not None) or (rows is not None) != (out is not None):
        raise SpecError(
            "give either --image and --prompt, or --rows and --out",
            hint='kolm run digits.kolm --image digit.png --prompt "Which digit is written in this picture?"',
        )
    require_extra("torch", "train")
    from apps.trainer.run import CompiledModel, answer_table

    note("not verified: `kolm verify` checks signatures and claims")
    with CompiledModel.open(
        artifact, base=base, max_new_tokens=max_new_tokens, trust_code=trust_code
    ) as model:
        if prompt is not None:
            answer = model.ask(image or [], prompt)
            emit({"answer": answer} if as_json else answer, as_json=as_json)
        elif rows is not None and out is not None:
            count = answer_table(model, rows, out=out)
            note(f"{count} rows answered")
            emit({"rows": count, "out": str(out)} if as_json else str(out), as_json=as_json)

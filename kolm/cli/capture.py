"""`kolm capture`: rows and pictures into the capture store, and frozen sets out of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kolm.cli.console import command, emit, note
from kolm.cli.options import AsJson

if TYPE_CHECKING:
    from apps.capture.store import CaptureStore, Frozen, Import
    from kolm.rows import Example

app = typer.Typer(help="Keep images, prompts and responses, and freeze them as sets.", no_args_is_help=True)

Into = Annotated[str, typer.Option("--into", help="Namespace: a named collection of rows.")]
Fraction = typer.Option(min=0, max=1, help="Share of the rows, whole groups at a time.")
SHOWN = 60
"""Characters of a prompt or response in a listing."""


@app.command("add")
@command
def add(
    into: Into,
    image: Annotated[list[Path], typer.Option(help="Picture file; repeat it for several.")],
    prompt: Annotated[str, typer.Option(help="What is asked.")],
    response: Annotated[str, typer.Option(help="What is to be answered.")],
    group: Annotated[
        str | None, typer.Option(help="Rows of one group stay together; else the image.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add one pair of pictures, prompt and response."""
    from apps.capture.importers import add_pair
    from apps.capture.store import store_at

    done = add_pair(store_at(), namespace=into, images=image, prompt=prompt, response=response, group=group)
    _tell_repair(done, into)
    row = done.added[0]
    word = "already in" if row.known else "added to"
    emit({"id": row.id, "known": row.known} if as_json else f"{row.id} {word} {into}", as_json=as_json)


@app.command("import")
@command
def import_(
    file: Annotated[Path, typer.Argument(help="A .jsonl or .csv file; pictures are relative to it.")],
    into: Into,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="A published shape, such as llava or chartqa, or auto; else pairs."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures of a published shape; else the file's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import a file of pairs; rows that cannot be used are named with their reasons (exit code 6)."""
    from apps.capture.importers import import_file, require_complete
    from apps.capture.store import store_at
    from kolm.errors import SpecError

    if images is not None and format_ is None:
        raise SpecError("--images needs --format", hint="pictures of pairs are relative to their file")
    done = import_file(store_at(), file, namespace=into, format=format_, images=images)
    _tell_repair(done, into)
    require_complete(done, source=str(file), namespace=into)
    known = len(done.added) - done.new
    text = f"{done.new} rows imported into {into}" + (f", {known} were there already" if known else "")
    emit({"imported": done.new, "known": known, "refused": 0} if as_json else text, as_json=as_json)


@app.command("ls")
@command
def ls(
    namespace: Annotated[str | None, typer.Argument(help="Namespace; without it, all are listed.")] = None,
    as_json: AsJson = False,
) -> None:
    """List namespaces, or the rows of one."""
    from apps.capture.store import store_at

    store = store_at()
    if namespace is None:
        items = [_summary(store, name) for name in store.namespaces()]
        lines = [f"{item['name']}  {item['rows']} rows  {item['images']} images" for item in items]
        emit({"namespaces": items} if as_json else "\n".join(lines) or "no captures yet", as_json=as_json)
        return
    contents = store.contents(namespace)
    if contents.half:
        note(f"ignored {contents.half} bytes of an interrupted append behind the last row")
    rows = [example.to_json() for example in contents.examples]
    text = "\n".join(_line(example) for example in contents.examples)
    emit({"namespace": namespace, "rows": rows} if as_json else text or "no rows", as_json=as_json)


@app.command("split")
@command
def split(
    namespace: Annotated[str, typer.Argument(help="Namespace to freeze.")],
    validation: Annotated[float | None, Fraction] = None,
    eval_: Annotated[
        float | None, typer.Option("--eval", min=0, max=1, help="Share held out for an eval pack.")
    ] = None,
    pack: Annotated[
        Path | None, typer.Option(help="Write the held-out rows as an eval pack to this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Freeze a namespace as sets, and print the pins that a spec can name."""
    from apps.capture.packs import write_eval_pack
    from apps.capture.store import store_at
    from kolm.errors import SpecError

    if pack and eval_ is None:
        raise SpecError("--pack needs --eval", hint="say how large a share is held out, such as --eval 0.2")
    store = store_at()
    sets = store.split(namespace, validation=validation, held_out=eval_)
    written = write_eval_pack(store, sets["eval"].examples, pack, name=namespace) if pack else None
    if as_json:
        documents = {label: _pinned(frozen) for label, frozen in sets.items()}
        emit({"sets": documents, "pack": str(written) if written else None}, as_json=True)
        return
    lines = [f"{label:<10} {frozen.pin}  {len(frozen.examples)} rows" for label, frozen in sets.items()]
    emit("\n".join([*lines, f"{'pack':<10} {written}"] if written else lines))


def _tell_repair(done: "Import", namespace: str) -> None:
    if done.repaired:
        note(f"{namespace}: cut off {done.repaired} bytes that an interrupted append had left")


def _summary(store: "CaptureStore", name: str) -> dict[str, Any]:
    examples = store.contents(name).examples
    images = {cid for example in examples for cid in example.images}
    return {"name": name, "rows": len(examples), "images": len(images)}


def _pinned(frozen: "Frozen") -> dict[str, Any]:
    return {"pin": str(frozen.pin), "rows": len(frozen.examples)}


def _line(example: "Example") -> str:
    asked = next(turn.text for turn in example.messages if turn.role == "user")
    texts = [" ".join(text.split()) for text in (asked, example.response)]
    short = [text if len(text) <= SHOWN else text[: SHOWN - 3] + "..." for text in texts]
    return f"{example.id}  {len(example.images)} images  {short[0]}  ->  {short[1]}"

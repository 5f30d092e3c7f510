"""How the command line speaks: results on stdout, everything else on stderr, one message per error."""

import functools
import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ParamSpec

import typer

from kolm.errors import KolmError, TrainError
from kolm.files import refusal
from kolm.visible import printable

P = ParamSpec("P")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells report SIGINT."""


def emit(result: Any, *, as_json: bool = False) -> None:
    """Print one result on stdout: a JSON object, or text as it is."""
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=True, sort_keys=True) + "\n")
    else:
        sys.stdout.write(printable(str(result)) + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Print one line of progress on stderr."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def report(error: KolmError, *, as_json: bool) -> None:
    """Print an error: message and hint on stderr, or one JSON object on stdout.

    Further lines of a message are indented: text from a file cannot pass for a line of ours.
    """
    if as_json:
        check = getattr(error, "check", None)
        document = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        emit({"error": document | ({"check": check} if check else {})}, as_json=True)
        return
    note("error: " + error.message.replace("\n", "\n  "))
    if error.hint:
        note(f"hint: {error.hint}")


def require_extra(module: str, extra: str, *, error: type[KolmError] = TrainError) -> None:
    """Raise `error` when `module`, which comes with kolm's optional packages `extra`, is not installed."""
    if find_spec(module) is None:
        raise error(
            f"this command needs {module}, which is not installed", hint=f"pip install 'kolm[{extra}]'"
        )


@contextmanager
def loading() -> Iterator[None]:
    """Import modules without searching them for garbage meanwhile: a sixth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Run a command so that every `KolmError` becomes one message and its exit code.

    So does a path that the file system does not let anyone look at: asking whether it exists raises as well.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except KolmError as err:
            report(err, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(err.exit_code) from err
        except OSError as err:
            if not isinstance(err.filename, str):
                raise
            refused = refusal(err, action="use", path=Path(err.filename))
            report(refused, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(refused.exit_code) from err
        except KeyboardInterrupt as err:
            note("interrupted")
            raise typer.Exit(INTERRUPTED) from err

    return run

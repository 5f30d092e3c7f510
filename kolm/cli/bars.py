"""Progress bars on stderr for what takes minutes; without a terminal, a few lines."""

from functools import cached_property
from time import monotonic
from typing import Any, Self

from kolm.cli.console import note


class Bars:
    """Shows how far things are, one bar for each name; the library that draws is loaded with the first."""

    def __init__(self) -> None:
        self._tasks: dict[str, Any] = {}
        self._begun: dict[str, tuple[float, int]] = {}
        self._tenths: dict[str, int] = {}

    def asking(self, model: str, done: int, rows: int) -> None:
        """Show that one more question is answered; without a terminal, every tenth part of them."""
        started, before = self._begun.setdefault(model, (monotonic(), done))
        seconds = monotonic() - started
        self.advance(f"ask {model}", done, rows, f"{(done - before) / seconds:.1f}/s" if seconds else "")
        tenth = 10 * done // max(rows, 1)
        if not self.live and tenth > self._tenths.get(model, 0):
            self._tenths[model] = tenth
            note(f"eval     {model}: {done} of {rows} answers")

    def advance(self, name: str, done: int, total: int, text: str) -> None:
        """Move one bar, where there is a terminal."""
        if not self.live:
            return
        self._progress.start()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, note="")
        self._progress.update(self._tasks[name], completed=done, note=text)

    @cached_property
    def live(self) -> bool:
        """Whether bars can be seen."""
        return bool(self._console.is_terminal)

    @cached_property
    def _console(self) -> Any:
        from rich.console import Console

        return Console(stderr=True)

    @cached_property
    def _progress(self) -> Any:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        return Progress(*columns, console=self._console, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._progress.stop()

"""The sequencer of the log: entries get their place in batches, durable before anyone is told.

An entry is acknowledged once it is in the journal, the journal is on the disk (one fsync for a whole batch)
and a checkpoint that covers it is published. Tiles and checkpoint follow from the entries alone, so whatever
a crash leaves of them is made again from the journal: nothing acknowledged is lost, and no two checkpoints
contradict each other.
"""

import fcntl
import logging
import queue
import shutil
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from kolm.errors import ArtifactError, CheckedError, DataError, KolmError, StorageError
from kolm.files import make_folder, refusal
from kolm.keys import PrivateKey
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.note import NoteKey
from kolm.tlog.tiles import MAX_ENTRY, WIDTH
from registry.frontier import File, Frontier
from registry.journal import Journal

MOST_AT_ONCE = 4096
"""Entries of one batch."""

RENEWED_AFTER = 600.0
"""Seconds after which an idle log signs its checkpoint again: readers see that it is not frozen."""

TRIED_AGAIN_AFTER = 5.0
"""Seconds after which a log that could not write what it had to tries again by itself."""

JOURNAL_ENTRIES = WIDTH * WIDTH
"""Entries after which the journal begins again."""

LOG = logging.getLogger("kolm.registry.log")

_Waiting = tuple[bytes, "Future[int]"]


class Sequencer:
    """The one writer of a log in a directory; the directory is what `/tlog/` serves.

    Raises StorageError when another process writes it, when the disk refuses, and when what is there is
    not whole or contradicts a checkpoint that was published.
    """

    def __init__(
        self,
        directory: Path,
        *,
        origin: str,
        key: PrivateKey,
        journal_entries: int = JOURNAL_ENTRIES,
        renewed_after: float = RENEWED_AFTER,
    ) -> None:
        self._directory = make_folder(directory)
        self._origin, self._key = origin, key
        self._journal_entries, self._renewed_after = journal_entries, renewed_after
        self._refusal: KolmError | None = None
        """Why the last batch, or the last renewal of the checkpoint, could not be published."""
        self._restored: frozenset[str] = frozenset()
        self._late: dict[bytes, int] = {}
        """Entries that the journal holds though their senders were told otherwise, and where they stand."""
        self.size = 0
        """Entries that are published."""
        with ExitStack() as undo:
            self._lock = undo.enter_context(_locked(directory / "lock"))
            self._journal = Journal(directory / "journal")
            undo.callback(self._journal.close)
            self._frontier, self._sound = self._recover(), True
            undo.pop_all()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._thread.start()

    def append(self, entry: bytes) -> "Future[int]":
        """Take in an entry; the future gives its index once it is durable and published.

        Raises DataError for an entry that no bundle can hold; the future raises StorageError. Whoever then
        sends the entry again gets the place that it may have got already.
        """
        if not 0 < len(entry) <= MAX_ENTRY:
            raise DataError(f"a log entry has 1 to {MAX_ENTRY} bytes", hint="log a digest of it instead")
        if not self._thread.is_alive():
            raise self._closed()
        place: Future[int] = Future()
        self._queue.put((entry, place))
        return place

    def check(self) -> None:
        """Raise StorageError if the log takes in nothing any more, or could not publish the last time."""
        if not self._thread.is_alive():
            raise self._closed()
        if refused := self._refusal:
            raise StorageError(
                f"{self._directory}: nothing is published: {refused.message}", hint=refused.hint
            ) from refused

    def read(self, path: str) -> bytes | None:
        """Return the bytes at a path of the log; None if there are none. Raises StorageError."""
        try:
            return (self._directory / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise refusal(err, action="read", path=self._directory / path) from err

    def close(self) -> None:
        """Finish what was taken in and let the directory go."""
        self._queue.put(None)
        self._thread.join()
        self._journal.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            try:
                first = self._queue.get(timeout=self._patience())
            except queue.Empty:
                self._commit([])
                continue
            if first is None:
                return
            batch, last = [first], False
            while len(batch) < MOST_AT_ONCE and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    last = True
                    break
                batch.append(following)
            self._commit(batch)
            if last:
                return

    def _patience(self) -> float:
        """Return for how many seconds nothing is written if nothing comes."""
        return min(TRIED_AGAIN_AFTER, self._renewed_after) if self._refusal else self._renewed_after

    def _commit(self, batch: list[_Waiting]) -> None:
        """Make a batch durable, publish it, and tell everyone who waits."""
        try:
            places = self._places(batch)
        except KolmError as err:
            if self._refusal is None:
                LOG.error("the log publishes nothing until the next attempt succeeds: %s", err.message)
            self._refusal = err
            for _, place in batch:
                place.set_exception(err)
            return
        self._refusal = None
        for (_, place), index in zip(batch, places, strict=True):
            place.set_result(index)
        if self._journal.entries >= self._journal_entries:
            self._restart()

    def _places(self, batch: list[_Waiting]) -> list[int]:
        """Give every entry of a batch its place. Raises StorageError."""
        if not self._sound:
            self._frontier, self._sound = self._recover(), True
        begin, places = self._frontier.size, []
        entries: list[bytes] = []
        for entry, _ in batch:
            late = self._late.get(entry)
            places.append(begin + len(entries) if late is None else late)
            entries += [entry] if late is None else []
        self._journal.append(entries)
        self._sound = False
        try:
            self._publish(self._frontier, entries)
        except KolmError:
            self._late |= {entry: begin + at for at, entry in enumerate(entries)}
            raise
        self._sound = True
        return places

    def _restart(self) -> None:
        """Begin the journal again; a disk that refuses is asked again after the next batch."""
        try:
            self._journal.restart(self._frontier.size)
            self._restored = _edge(self._frontier)
        except KolmError:
            self._sound = False

    def _recover(self) -> Frontier:
        """Make tiles and checkpoint again from the journal. Raises StorageError."""
        entries = self._journal.read()
        try:
            frontier = Frontier.read(self.read, self._journal.begin)
        except ArtifactError as err:
            raise StorageError(
                f"{self._directory}: a tile before its journal is missing or damaged: {err.message}",
                hint="restore the directory whole, never in part",
            ) from err
        self._restored = _edge(frontier)
        self._publish(frontier, entries)
        return frontier

    def _publish(self, frontier: Frontier, entries: Iterable[bytes]) -> None:
        """Write the tiles that these entries make, then the checkpoint that covers them."""
        earlier = self._published() or Checkpoint(self._origin, frontier.size, frontier.root())
        full: list[File] = []
        agrees = _agrees(frontier, earlier)
        for entry in entries:
            full += frontier.append(entry)
            agrees = agrees or _agrees(frontier, earlier)
        if not agrees:  # never sign what an earlier checkpoint contradicts, nor write over its tiles
            raise StorageError(
                f"{self._directory}: holds fewer entries, or others, than its checkpoint of {earlier.size}",
                hint="the directory was damaged or set back; restore it whole, never in part",
            )
        for path, data in (*full, *frontier.partial()):
            self._write(path, data)
        checkpoint = Checkpoint(self._origin, frontier.size, frontier.root())
        self._write("checkpoint", checkpoint.signed(self._key, time=int(time.time())))
        self.size = frontier.size
        for path in {path for path, _ in full} - self._restored:
            shutil.rmtree(self._directory / f"{path}.p", ignore_errors=True)

    def _published(self) -> Checkpoint | None:
        """Return the checkpoint that readers see. Raises StorageError for one of another log."""
        data = self.read("checkpoint")
        if not data:  # after a power cut a file may be there without its bytes
            return None
        try:
            return Checkpoint.open(data, NoteKey(self._origin, self._key.public))
        except CheckedError as err:
            raise StorageError(
                f"{self._directory}: its checkpoint is of another log, or damaged: {err.message}",
                hint="keep key and name of a log; restore the directory whole",
            ) from err

    def _closed(self) -> StorageError:
        return StorageError(f"{self._directory}: the log is closed", hint="start the registry again")

    def _write(self, path: str, data: bytes) -> None:
        """Put a file in its place whole; readers see the old one or the new one.

        Unlike `files.write_atomic` it does not wait for the disk: the journal is there already, and makes
        the file again. What the journal no longer holds was synced before it began again.
        """
        target = self._directory / path
        draft = self._directory / "draft"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(target)
        except OSError as err:
            raise refusal(err, action="write", path=target) from err


def _edge(frontier: Frontier) -> frozenset[str]:
    """Return the full tiles whose partial ones recovering reads, and which must therefore stay."""
    return frozenset(path.rpartition(".p/")[0] for path, _ in frontier.partial())


def _agrees(frontier: Frontier, earlier: Checkpoint) -> bool:
    return frontier.size == earlier.size and frontier.root() == earlier.root


def _locked(path: Path) -> BinaryIO:
    try:
        handle = path.open("ab")
    except OSError as err:
        raise refusal(err, action="write", path=path) from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        handle.close()
        raise StorageError(
            f"{path.parent}: another process writes this log", hint="a log has one sequencer; stop the other"
        ) from err
    return handle

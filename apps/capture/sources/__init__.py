"""Published shapes of data sets, one file each, read into the same records.

A record becomes a row of an eval pack or a training row; specs/formats/pack.md 6 says what becomes what.
Nothing is fetched from the network.
"""

from pathlib import Path

from apps.capture.sources import captions, chartqa, chat, cord, docvqa, llava, medpix, textvqa, vqav2
from apps.capture.sources.files import folder_of, sight_of
from apps.capture.sources.record import Found, Pictures, Record, Source
from kolm.errors import DataError, SpecError
from kolm.validation import nearest

__all__ = ["AUTO", "SOURCES", "Found", "Pictures", "Record", "Source", "folder_of", "source_of"]

AUTO = "auto"
"""Stands for the one format that recognises a file."""

_MODULES = (chartqa, docvqa, textvqa, vqav2, cord, captions, medpix, llava, chat)
SOURCES = {module.SOURCE.name: module.SOURCE for module in _MODULES}


def source_of(path: Path, *, name: str) -> Source:
    """Return the source of this name, or the one that recognises the file when the name is `auto`.

    Raises SpecError for an unknown name, DataError when none or several recognise the file.
    """
    known = ", ".join(SOURCES)
    if name in SOURCES:
        return SOURCES[name]
    if name != AUTO:
        close = nearest(name, SOURCES)
        meant = f"did you mean `{close}`? " if close else ""
        raise SpecError(f"unknown format `{name}`", hint=f"{meant}known: {AUTO}, {known}")
    sight = sight_of(path)
    found = [source for source in SOURCES.values() if source.recognises(sight)]
    if len(found) != 1:
        matches = ", ".join(source.name for source in found)
        held = ", ".join(sorted(sight.columns))[:200] or "no records"
        reason = f"could be {matches}" if found else f"is no known format; a record has {held}"
        raise DataError(f"{path} {reason}", hint=f"name it with --format: {known}")
    return found[0]

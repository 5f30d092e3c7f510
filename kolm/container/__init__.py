"""The strict container of an artifact: a ZIP file of which every byte follows from names and contents.

`write_container` makes the same bytes from the same members everywhere. `Container.open` accepts those
bytes and nothing else: it knows what each record must look like and compares, so no byte is ignored and
no two readers can disagree about what is inside (specs/formats/container.md).
"""

from kolm.container.layout import Limits, Zip64
from kolm.container.reader import Container
from kolm.container.writer import write_container

__all__ = ["Container", "Limits", "Zip64", "write_container"]

"""`kolm`, and `python -m kolm`: the command line, with a head start for what takes long."""

import gc
import os
import sys
from pathlib import Path

_SWITCH = 0.0005
"""Seconds until a thread that loads modules makes way for one that hashes; usually ten times as many."""


def main() -> None:
    """Run the command line.

    An artifact that is to be verified is read while everything else is loaded: that takes as long as a hash
    over 500 MB (specs/decisions/0013). Loading makes no garbage, so none is looked for, and at the end
    nothing is taken apart that the system frees anyway.
    """
    gc.disable()
    _begin_reading(sys.argv[1:])
    from kolm.cli import app

    gc.enable()
    try:
        app()
    finally:
        gc.freeze()


def _begin_reading(arguments: list[str]) -> None:
    """Begin with the artifact that `kolm verify` names, if it is a file."""
    named = [word for word in arguments[1:] if word.endswith(".kolm")]
    if arguments[:1] == ["verify"] and named and os.path.isfile(named[0]):  # noqa: PTH113 (raises nothing)
        from kolm.container import ahead

        sys.setswitchinterval(_SWITCH)
        ahead.begin(Path(named[0]))


if __name__ == "__main__":
    main()

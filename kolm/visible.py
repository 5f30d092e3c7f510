"""Text that nobody vouches for, made harmless to look at: what a terminal would obey becomes an escape."""

import unicodedata


def printable(text: str) -> str:
    """Return text with control, format and bidirectional characters shown as escapes.

    Names and model outputs come from files nobody vouches for; a terminal would obey them.
    """
    return "".join(_visible(character) for character in text)


def one_line(text: str) -> str:
    """Return text as one harmless line: nothing in it can steer a terminal, or pass for a line of ours."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    return character.encode("unicode_escape").decode("ascii") if hidden else character

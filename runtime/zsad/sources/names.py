"""Names of files as text that every consumer can write down."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return a file's name, or words around one, with every byte that is not UTF-8 as `\xNN`.

    Python keeps such bytes as lone surrogates, which no database, JSON reader or terminal takes.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

"""References to secrets in a configuration's texts: `${env:NAME}` and `${file:PATH}`.

A secret is never written into the file: what stands there is where it is kept. Whoever reads the
file, its backup or the printed configuration learns no password.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from zsad.errors import InputError
from zsad.sources import mask_credentials

_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_PARAMETER = re.compile(r"(?i)(?:pass(?:word|wd)?|pwd|user-pw|token|secret|api_?key)=[^&\s]")
_MAX_BYTES = 1 << 16


class Secrets:
    """Resolves references, and remembers which text stands for which resolved one."""

    def __init__(self) -> None:
        """Begin with no reference met."""
        self._written: dict[str, str] = {}
        self._references: dict[str, str] = {}

    def resolved(self, text: str, where: str) -> str:
        """Return `text` with its references replaced by what they name.

        In a URL the secret is percent-encoded, so that an @ or a / in a password breaks nothing.

        Args:
            text: A text of the configuration.
            where: Its place, for the error.

        Raises:
            InputError: A reference leads nowhere, or a URL holds a password as it is.
        """
        if _has_inline_password(text):
            raise InputError(
                f"{where}: a password stands in the file: write ${{env:NAME}} or ${{file:PATH}} in"
                " its place"
            )
        is_url = "://" in text

        def found(match: re.Match[str]) -> str:
            value = _read(match[1], match[2], where)
            encoded = quote(value, safe="")
            for shown in (value, encoded, repr(value)[1:-1]):
                self._references[shown] = match[0]
            return encoded if is_url else value

        result = _REFERENCE.sub(found, text)
        if result != text:
            self._written[result] = text
        return result

    def as_written(self, text: str) -> str:
        """Return a resolved text as the file has it; any other with the credentials masked."""
        return self._written.get(text) or mask_credentials(text)

    def concealed(self, message: str) -> str:
        """Return a message about resolved texts with every secret in it as its reference."""
        # The longest first: a secret may begin with another one.
        shown = sorted(self._references, key=len, reverse=True)
        if not shown:
            return message
        pattern = re.compile("|".join(map(re.escape, shown)))
        return pattern.sub(lambda match: self._references[match[0]], message)


def _has_inline_password(text: str) -> bool:
    hidden = _REFERENCE.sub("", text)
    if _PARAMETER.search(hidden):
        return True
    try:
        return "://" in hidden and bool(urlsplit(hidden).password)
    except ValueError:
        return False


def _read(kind: str, name: str, where: str) -> str:
    if kind == "env":
        value = os.environ.get(name)
        if not value:
            raise InputError(f"{where}: the environment has no {name}: set it before the start")
        return value
    try:
        with Path(name).open(encoding="utf-8") as stream:
            value = stream.read(_MAX_BYTES).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"{where}: the secret's file {name} cannot be read: {reason}") from None
    if not value:
        raise InputError(f"{where}: the secret's file {name} is empty")
    return value

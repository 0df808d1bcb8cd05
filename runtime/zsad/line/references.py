"""References to secrets in a configuration's texts: `${env:NAME}` and `${file:PATH}`.

A secret is never written into the file: what stands there is where it is kept. Whoever reads the
file, its backup or the printed configuration learns no password.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from zsad.credentials import learn_secret, mask_credentials
from zsad.errors import InputError

_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_PARAMETER = re.compile(r"(?i)(?:pass(?:word|wd)?|pwd|user-pw|token|secret|api_?key)=[^&\s]")
_MAX_BYTES = 1 << 16


class Secrets:
    """Resolves references, and remembers which text stands for which resolved one.

    What they name is shown as the reference from then on, in whatever this process says.
    """

    def __init__(self) -> None:
        """Begin with no reference met."""
        self._written: dict[str, str] = {}

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
            learn_secret(value, match[0])
            return quote(value, safe="", errors="surrogateescape") if is_url else value

        result = _REFERENCE.sub(found, text)
        if result != text:
            self._written[result] = text
        return result

    def as_written(self, text: str) -> str:
        """Return a resolved text as the file has it; any other with the credentials masked."""
        return self._written.get(text) or mask_credentials(text)


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

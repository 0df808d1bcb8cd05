"""Secrets by reference: a configuration names where one lies and never holds it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zsad.credentials import learn_secret
from zsad.errors import InputError


@dataclass(frozen=True)
class SecretRef:
    """Where a secret lies: in a file of its own, or in an environment variable.

    Attributes:
        file: Path of a file that holds the secret and nothing else; a last line end is left out.
        env: Name of an environment variable.
    """

    file: str | None = None
    env: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.env is None):
            raise InputError("a secret is given as one of 'file: PATH' and 'env: NAME'")

    def read(self) -> str:
        """Return the secret, which no text of this process shows from now on.

        Raises:
            InputError: The file or the variable is missing, unreadable or empty.
        """
        value = self._from_file(self.file) if self.file is not None else self._from_environment()
        if not value:
            raise InputError(f"the secret in {self} is empty: write it there")
        learn_secret(
            value, f"${{file:{self.file}}}" if self.env is None else f"${{env:{self.env}}}"
        )
        return value

    def __str__(self) -> str:
        return f"file {self.file}" if self.file is not None else f"environment {self.env}"

    def _from_environment(self) -> str:
        value = os.environ.get(str(self.env))
        if value is None:
            raise InputError(f"the environment has no {self.env}, which a secret is to come from")
        return value

    @staticmethod
    def _from_file(file: str) -> str:
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise InputError(f"secret file {file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(f"secret file {file} is not text in UTF-8") from None

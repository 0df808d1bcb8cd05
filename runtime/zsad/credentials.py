"""Keeps passwords out of everything that is printed, logged, shown or stored.

A secret that was read is made known here, once for the whole process: whoever quotes it later, a
check of our own or a library's exception, need not know that it is one.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

_AUTHORITY = re.compile(r"(?<=://)\S*@")
_PARAMETER = re.compile(
    r"(?<![a-z0-9])((?:user(?:name)?|login|pass(?:word|wd)?|pwd|token|secret|auth|key|api_?key)=)"
    r"(?:(?!_[a-z]+=)[^&\s])*",  # some cameras join them by _, which may be in a password, too
    re.IGNORECASE,
)
# GStreamer's rtspsrc takes them as properties of their own, quoted or not.
_PROPERTY = re.compile(
    r"""(?<![\w-])((?:user|proxy)-(?:id|pw)=)("[^"]*"|'[^']*'|\S+)""", re.IGNORECASE
)
_URL_USER = re.compile(r"://([^\s]*)@")
_WORD = 4
"""A secret shorter than this is hidden where it stands as a word: it is in every other number."""


class _Known:
    """The secrets of this process, each with the text that is shown in its place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str, shown: str) -> None:
        with self._lock:
            if secret in self._shown:
                return
            for text in _appearances(secret):
                if text.strip():
                    self._shown.setdefault(text, shown)
            # What is shown for a secret may hold the text of another one, and is left as it is.
            self._shown[shown] = shown
            longest_first = sorted(self._shown, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(_expression, longest_first)))

    def conceal(self, text: str) -> str:
        with self._lock:
            shown, pattern = self._shown, self._pattern
        return text if pattern is None else pattern.sub(lambda match: shown[match[0]], text)

    def clear(self) -> None:
        with self._lock:
            self._shown, self._pattern = {}, None


_known = _Known()


def learn_secret(secret: str, shown: str) -> None:
    """Have a secret shown as something else from now on, however it is encoded.

    Args:
        secret: What was read; learning it again costs nothing.
        shown: What stands for it, such as `${env:NAME}`.
    """
    _known.add(secret, shown)


def forget_secrets() -> None:
    """Forget every secret, as between two tests."""
    _known.clear()


def conceal_secrets(text: str) -> str:
    """Return `text` with every secret that was learnt replaced by what stands for it."""
    return _known.conceal(text)


def mask_credentials(text: str) -> str:
    """Return `text` without learnt secrets, and the credentials of every URL in it as `***`.

    It hides all before the last @, since passwords that hold an unescaped @ or / are common, and
    the values of parameters such as `password=` that many cameras take.
    """
    masked = _PARAMETER.sub(r"\1***", _AUTHORITY.sub("***@", conceal_secrets(text)))
    return _PROPERTY.sub(r"\1***", masked)


def masked_line(error: BaseException | str) -> str:
    """Return an error, or a program's words, as one line without credentials."""
    text = mask_credentials(" ".join(str(error).split()))
    return text or type(error).__name__


def _appearances(secret: str) -> Iterator[str]:
    """Yield the forms in which texts quote a secret, as a whole or, of a URL, its passwords."""
    for plain in (secret, " ".join(secret.split()), *_passwords(secret)):
        yield plain
        yield repr(plain)[1:-1]
        yield from (json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1])
        # An environment may hold bytes that are no text.
        yield from (quote(plain, safe, errors="surrogateescape") for safe in ("/", ""))
        yield quote_plus(plain, errors="surrogateescape")


def _passwords(secret: str) -> Iterator[str]:
    """Yield what is secret in a URL by itself; a false URL is quoted in pieces."""
    found = _URL_USER.search(secret)
    if found is None:
        return
    password = found[1].partition(":")[2]
    for piece in (password, unquote(password), *re.split("[/?#@:]", password)):
        if len(piece) >= _WORD:
            yield piece


def _expression(text: str) -> str:
    escaped = re.escape(text)
    return escaped if len(text) >= _WORD else rf"(?<!\w){escaped}(?!\w)"

"""Keeps passwords out of everything that is logged, shown or stored."""

from __future__ import annotations

import re

_AUTHORITY = re.compile(r"(?<=://)\S*@")
_PARAMETER = re.compile(
    r"(?<![a-z0-9])((?:user(?:name)?|login|pass(?:word|wd)?|pwd|token|secret|auth|key|api_?key)=)[^&\s_]*",
    re.IGNORECASE,
)
# GStreamer's rtspsrc takes them as properties of their own, quoted or not.
_PROPERTY = re.compile(
    r"""(?<![\w-])((?:user|proxy)-(?:id|pw)=)("[^"]*"|'[^']*'|\S+)""", re.IGNORECASE
)


def mask_credentials(text: str) -> str:
    """Return `text` with the credentials of every URL in it replaced by `***`.

    It hides all before the last @, since passwords that hold an unescaped @ or / are common, and
    the values of parameters such as `password=` that many cameras take.
    """
    masked = _PARAMETER.sub(r"\1***", _AUTHORITY.sub("***@", text))
    return _PROPERTY.sub(r"\1***", masked)


def masked_line(error: BaseException | str) -> str:
    """Return an error, or a program's words, as one line without credentials."""
    text = mask_credentials(" ".join(str(error).split()))
    return text or type(error).__name__

"""What kind of source an address names, and what can be done with each kind."""

from __future__ import annotations

import os
import re
from typing import Literal
from urllib.parse import urlsplit

from zsad.host_name import address_of, is_host

Kind = Literal["v4l2", "rtsp", "http", "url", "gstreamer", "csi", "genicam", "video", "folder"]

FINITE: tuple[Kind, ...] = ("video",)
"""Kinds that end by themselves."""
LOSSLESS: tuple[Kind, ...] = ("video", "folder")
"""Kinds that can wait: with `every`, a full queue holds them up instead of losing a frame."""
LOCKABLE: tuple[Kind, ...] = ("v4l2", "genicam", "csi")
SHAPEABLE: tuple[Kind, ...] = ("v4l2", "csi")
OPENED_IN_TURN: tuple[Kind, ...] = ("rtsp", "url")
"""Kinds of which one that hangs in the opening holds up all others in the process."""
OWN_PROCESS: tuple[Kind, ...] = ("gstreamer", "csi", "genicam")
"""Kinds that live in a child process in any case."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def infer_kind(source: str) -> Kind:
    """Return the kind of source that an address names."""
    if source.isdecimal() or source.startswith("/dev/"):
        return "v4l2"
    prefixes: tuple[tuple[str, Kind], ...] = (
        ("rtsp://", "rtsp"),
        ("rtsps://", "rtsp"),
        ("http://", "http"),
        ("https://", "http"),
        ("genicam:", "genicam"),
        ("csi:", "csi"),
    )
    for prefix, kind in prefixes:
        if source.lower().startswith(prefix):
            return kind
    if _SCHEME.match(source):
        return "url"
    if " ! " in source:
        return "gstreamer"
    # Unlike Path.is_dir, this answers for a name that no file system takes, too.
    return "folder" if os.path.isdir(source) else "video"


def has_host(url: str) -> bool:
    """Whether a URL names a host and a port that can be meant.

    A / # or ? in a password ends the host where it is not encoded. `http://admin:20/26@cam` then
    is port 20 of a host `admin`, which would be looked up, and shown with what the password begins
    with.
    """
    try:
        parts = urlsplit(url)
        _, host = parts.port, parts.hostname or ""
    except ValueError:
        return False
    is_user = ":" in parts.netloc and "@" not in parts.netloc and "@" in url
    return is_host(host) and not (is_user and address_of(host) is None)

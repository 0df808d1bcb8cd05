"""What the options of several sinks are checked for."""

from __future__ import annotations

import ipaddress
import unicodedata

from zsad.errors import InputError

STALE_S = 3.0
"""Seconds without progress of the engine's thread after which nothing it said is believed; it has
to be longer than the slowest frame takes."""
_ANY = ("0.0.0.0", "::")


def overlap(host: str, other: str) -> bool:
    """Whether one of two addresses to listen on is, or takes in, the other."""
    return host == other or not {host, other}.isdisjoint(_ANY)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_control(letter: str) -> bool:
    """Whether a letter is one that no name should have."""
    return unicodedata.category(letter) in ("Cc", "Cs")


def positive(value: float, what: str) -> None:
    """Refuse what is no finite number above 0; `what` names it."""
    if not 0 < value < float("inf"):
        raise InputError(f"{what} {value} must be above 0")


def check_address(host: str, port: int, what: str) -> None:
    """Refuse what is no host and port; `what` names it."""
    if not host or any(letter.isspace() for letter in host) or "/" in host or "@" in host:
        raise InputError(f"{what}: a host is needed: a name or an address, nothing more")
    if not 1 <= port <= 65535:
        raise InputError(f"{what}: port {port} must be from 1 to 65535")

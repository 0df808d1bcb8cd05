"""What the options of several sinks are checked for."""

from __future__ import annotations

import unicodedata

from zsad.errors import InputError
from zsad.host_name import address_of, is_host

STALE_S = 3.0
"""Seconds without progress of the engine's thread after which nothing it said is believed; it has
to be longer than the slowest frame takes."""
_LOCALHOST = "localhost"


def overlap(host: str, other: str) -> bool:
    """Whether one of two addresses that Modbus servers listen on is, or takes in, the other.

    `::` is every address of IPv6 and none of IPv4, whatever the system makes of it: asyncio, which
    serves Modbus, sees to that. A name may stand for addresses of both.
    """
    one, two = address_of(host), address_of(other)
    if one is not None and two is not None:
        takes_in = one.is_unspecified or two.is_unspecified
        return one == two or (one.version == two.version and takes_in)
    if host == other or any(each is not None and each.is_unspecified for each in (one, two)):
        return True
    return _LOCALHOST in (host, other) and is_loopback(host) and is_loopback(other)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    address = address_of(host)
    return host == _LOCALHOST if address is None else address.is_loopback


def is_control(letter: str) -> bool:
    """Whether a letter is one that no name should have."""
    return unicodedata.category(letter) in ("Cc", "Cs")


def positive(value: float, what: str) -> None:
    """Refuse what is no finite number above 0; `what` names it."""
    if not 0 < value < float("inf"):
        raise InputError(f"{what} {value} must be above 0")


def check_address(host: str, port: int, what: str) -> None:
    """Refuse what is no host and port; `what` names it."""
    if not is_host(host) or any(letter.isspace() or letter in "/@" for letter in host):
        raise InputError(f"{what}: a host is needed: a name or an address, nothing more")
    if not 1 <= port <= 65535:
        raise InputError(f"{what}: port {port} must be from 1 to 65535")

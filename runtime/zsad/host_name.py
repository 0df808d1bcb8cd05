"""Names and addresses of machines, as far as they can be checked without asking anybody."""

from __future__ import annotations

import ipaddress


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is; None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_host(host: str) -> bool:
    """Whether a host is one that can be looked up at all: `cam..plant` is none."""
    try:
        return bool(host) and bool(host.encode("idna"))
    except UnicodeError:
        return False

"""systemd's notification protocol: datagrams to the socket that NOTIFY_SOCKET names."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

LOG = logging.getLogger(__name__)


class Notifier:
    """Tells systemd how the service is doing; without systemd it does nothing."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.

        Args:
            environment: Where they stand; None is the process's own environment.
        """
        given = os.environ if environment is None else environment
        self._address = _address(given.get("NOTIFY_SOCKET", ""))
        meant = given.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = given.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if meant and usec.isdecimal() and int(usec) else None

    def ready(self, status: str) -> None:
        """The line judges from now on."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def alive(self) -> None:
        """The line made progress since the last time."""
        self._send("WATCHDOG=1")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(status)}")

    def stopping(self) -> None:
        """The line was asked to stop."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                # The main thread must not hang on a manager that reads nothing.
                link.setblocking(False)
                link.sendto(message.encode(), self._address)
        except OSError as error:
            LOG.warning("systemd cannot be told %s: %s", message.split("=")[0], error.strerror)


def _address(name: str) -> str | None:
    if name.startswith("@"):
        return "\0" + name[1:]  # abstract: not a file
    if name.startswith("/"):
        return name
    if name:
        LOG.warning("NOTIFY_SOCKET %s is of a kind that is not known here", name)
    return None


def _line(text: str) -> str:
    return " ".join(text.split())

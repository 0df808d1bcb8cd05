"""A real MQTT broker that can be gone, frozen or slow."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsad.errors import InputError

_SLOW_S = (0.2, 0.05)
"""How long a slow broker stands still, and how long it then works."""

_PATIENCE_S = 10.0


class Broker:
    """A mosquitto on a port of its own, and what can be wrong with it."""

    def __init__(self, folder: Path) -> None:
        """Choose a port; nothing runs yet."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Broker]:
        """Give one that runs."""
        broker = cls(folder)
        broker._start()
        try:
            yield broker
        finally:
            broker._kill()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Be gone."""
        self._kill()
        yield
        self._start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep every connection and answer nothing."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Work only a part of the time."""
        over, (still_s, works_s) = threading.Event(), _SLOW_S

        def alternate() -> None:
            while not over.is_set():
                self._signal(signal.SIGSTOP)
                over.wait(still_s)
                self._signal(signal.SIGCONT)
                over.wait(works_s)

        thread = threading.Thread(target=alternate, name="slow-broker")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _start(self) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            [program, "-c", str(self._settings)], stdout=quiet, stderr=quiet
        )
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                if time.monotonic() > until_s:
                    raise InputError("mosquitto does not start: is it installed?") from None
                time.sleep(0.05)

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

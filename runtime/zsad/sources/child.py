"""A child process that frames come from, read with a deadline and killed when it is silent.

Only a process can be ended while a native call in it hangs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

_BLOCK = 1 << 20
_KEPT_WORDS = 4096
_POLITE_S = 0.5
# Whatever happens to this process, the kernel ends the child with it; a program of others does not
# ask for that itself.
_DIE_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
)


class ChildPipe:
    """A running child: what it prints is data, and what it says on standard error is kept."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start the command."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which closes the child in order
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._stderr = self._process.stderr
        with contextlib.suppress(OSError):  # an unprivileged user's pipes may be used up
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, _BLOCK)
        self._selector = selectors.DefaultSelector()
        for stream in (self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)
        self._words = b""
        self.buffer = bytearray()
        self.ended = False

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until `buffer` holds `count` bytes; False after the time-out or the child's end."""
        deadline_s = time.monotonic() + timeout_s
        while len(self.buffer) < count:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or self.ended:
                return False
            self.receive(left_s)
        return True

    def receive(self, timeout_s: float) -> None:
        """Read what there is, or what comes first within the time-out, into `buffer`."""
        for key, _ in self._selector.select(timeout_s):
            block = self._read(key.fd)
            if key.fileobj is self._stderr:
                self._words = _last_lines(self._words + block)
            else:
                self.buffer += block
                self.ended |= not block
            if not block:
                self._selector.unregister(key.fileobj)

    def _read(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, _BLOCK)
        except OSError:
            return b""

    def take(self, count: int) -> bytearray:
        """Cut the first bytes off `buffer`."""
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, line: str) -> None:
        """Write a line to the child; one that is gone is noticed by the next read."""
        with contextlib.suppress(OSError, ValueError):
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()

    def last_words(self) -> str:
        """Wait a moment for the child's end; return what it said on standard error."""
        deadline_s = time.monotonic() + _POLITE_S
        while self._selector.get_map() and time.monotonic() < deadline_s:
            self.receive(0.05)
            self.buffer.clear()
        return self._words.decode(errors="replace").strip()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it runs."""
        return self._process.poll()

    def how_it_ended(self) -> str:
        """Return how the child ended, for a person."""
        try:
            code = self._process.wait(_POLITE_S)
        except subprocess.TimeoutExpired:
            return "it closed its output and goes on"
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}"

    def kill(self) -> None:
        """End the child and all of its own, politely first; ending twice does no harm."""
        # One that waits for room in the pipe would not hear the signal.
        self._selector.close()
        self._stdout.close()
        for number, patience_s in ((signal.SIGTERM, _POLITE_S), (signal.SIGKILL, None)):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
                break
        for stream in (self._stdin, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()


def _last_lines(words: bytes) -> bytes:
    """Return the last whole lines: a password that was cut in two would pass for something else."""
    if len(words) <= _KEPT_WORDS:
        return words
    return words[-_KEPT_WORDS:].partition(b"\n")[2]

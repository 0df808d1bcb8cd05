"""Waiting for what another thread, or another process, is to bring about."""

import time


def wait_until(condition, timeout_s=20.0, told=lambda: "it never came true"):
    """Return what a condition gives once that is true; fail with what `told` gives if never."""
    until_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until_s, told()
        time.sleep(0.01)
    return found

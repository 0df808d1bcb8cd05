import time

import pytest


@pytest.fixture
def until():
    """Return `until(condition, deadline_s=10)`: waits for a condition, or fails."""

    def wait(condition, deadline_s=10.0):
        by_s = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < by_s, "it never came true"
            time.sleep(0.01)

    return wait

import pytest
from waiting import wait_until


@pytest.fixture
def until():
    """Return `until(condition, timeout_s=20)`, as `wait_until`."""
    return wait_until

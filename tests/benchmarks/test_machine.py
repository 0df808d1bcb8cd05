import os
import platform
import sys

import pytest

from machine import describe, own_peak_bytes, peak_bytes


def test_the_description_names_no_host():
    found = describe()
    assert found["cores"] >= 1
    assert found["packages"]["numpy"]
    node = platform.node()
    assert not node or node not in str({k: v for k, v in found.items() if k != "system"})


@pytest.mark.skipif(sys.platform != "linux", reason="another system tells of this process alone")
def test_the_peak_of_a_process_is_what_it_once_held():
    before = own_peak_bytes()
    bytearray(os.urandom(1)) * (before + 10_000_000)
    assert own_peak_bytes() > before
    assert peak_bytes(os.getpid()) == own_peak_bytes()
    assert peak_bytes(2**31 - 1) is None

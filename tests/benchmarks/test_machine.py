import platform

from machine import describe


def test_the_description_names_no_host():
    found = describe()
    assert found["cores"] >= 1
    assert found["packages"]["numpy"]
    node = platform.node()
    assert not node or node not in str({k: v for k, v in found.items() if k != "system"})

import platform

from machine import cpu_model, describe


def test_the_cpu_is_named_as_linux_names_it(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Fast: 9000\nflags\t\t: fpu\n")
    assert cpu_model(path) == "Fast: 9000"


def test_a_machine_without_cpuinfo_has_no_name(tmp_path):
    assert cpu_model(tmp_path / "missing") is None


def test_the_description_names_no_host():
    found = describe()
    assert found["cores"] >= 1
    assert found["packages"]["numpy"]
    node = platform.node()
    assert not node or node not in str({k: v for k, v in found.items() if k != "system"})

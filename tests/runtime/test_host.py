import os

import pytest

from zsad.host import processor, saturates_int8, usable_cores


def test_the_cpu_is_named_as_linux_names_it(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Fast: 9000\nflags\t\t: fpu\n")
    assert processor(path) == "Fast: 9000"


def test_without_cpuinfo_the_system_names_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert processor(tmp_path / "missing") == "aarch64"


def test_the_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(
    ("text", "saturates"),
    [
        ("flags\t\t: fpu avx2 fma\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", True),
        ("flags\t\t: fpu avx2 avx_vnni fma\n", False),
        ("flags\t\t: avx512_vnni\n", False),
        ("Features\t: fp asimd asimddp\n", False),
    ],
)
def test_an_x86_processor_without_vnni_saturates_int8(tmp_path, text, saturates):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}")
    assert saturates_int8(path) is saturates

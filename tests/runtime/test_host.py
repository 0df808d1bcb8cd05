import os

from zsad.host import processor, usable_cores


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

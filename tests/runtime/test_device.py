import pytest
from fake_driver import FakeDriver

from zsad import device
from zsad.errors import InputError


def test_the_gpu_is_what_the_driver_says(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeDriver())
    assert device.find_gpu() == device.Gpu("Orin", 87)
    assert str(device.find_gpu()) == "Orin sm87"


def test_an_architecture_of_three_digits_is_read(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeDriver("RTX 5090", 120))
    assert str(device.find_gpu()) == "RTX 5090 sm120"


def test_a_driver_without_a_gpu_is_bad_input(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeDriver(status=100))
    with pytest.raises(InputError, match="CUDA error 100"):
        device.find_gpu()


def test_a_machine_without_a_driver_is_bad_input(monkeypatch):
    monkeypatch.setattr(device, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(InputError, match="no NVIDIA driver here"):
        device.find_gpu()

"""A whole fake device: driver, GPU, TensorRT and CUDA libraries, with its own engine cache."""

from __future__ import annotations

import sys

from fake_cuda import install_cuda_python, install_pycuda
from fake_driver import FakeDriver
from fake_gpu import FakeGpu
from fake_tensorrt import install_tensorrt

from zsad import device

CUDA = {"pycuda": install_pycuda, "cuda-python": install_cuda_python}


class FakeDevice:
    """What tests hold on to: the GPU and the TensorRT package that was put into place."""

    def __init__(self, monkeypatch, cache, cuda=("pycuda",), **options):
        self.gpu = FakeGpu()
        driver = FakeDriver(self.gpu.name, self.gpu.sm)
        monkeypatch.setattr(device.ctypes, "CDLL", lambda name: driver)
        monkeypatch.setenv("ZSAD_CACHE", str(cache))
        for library, install in CUDA.items():
            if library in cuda:
                install(monkeypatch, self.gpu)
            else:
                _remove(monkeypatch, library)
        self.trt = install_tensorrt(monkeypatch, self.gpu, **options)


def _remove(monkeypatch, library):
    names = {"pycuda": ["pycuda", "pycuda.driver"], "cuda-python": ["cuda.bindings.runtime"]}
    for name in names[library]:
        monkeypatch.setitem(sys.modules, name, None)

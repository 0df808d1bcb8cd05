"""The two CUDA libraries behind one door, over the fake GPU and, without a driver, for real."""

import sys

import numpy as np
import pytest
from fake_cuda import install_cuda_python, install_pycuda
from fake_gpu import FakeGpu

from zsad.backends.cuda_memory import open_cuda, open_cuda_graphs
from zsad.errors import InferenceError, InputError

DOORS = {"pycuda": install_pycuda, "cuda-python": install_cuda_python}


@pytest.fixture(params=DOORS)
def door(request, monkeypatch):
    gpu = FakeGpu()
    DOORS[request.param](monkeypatch, gpu)
    cuda = open_cuda(request.param)
    assert cuda.name == request.param
    return gpu, cuda


def test_memory_goes_there_and_comes_back(door):
    gpu, cuda = door
    sent = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)
    with cuda.active():
        there, back = cuda.pinned(1000), cuda.pinned(1000)
        address = cuda.allocate(1000)
        there[:] = sent
        cuda.upload(address, there)
        cuda.download(back, address)
        assert not np.array_equal(back, sent)  # nothing has happened yet
        cuda.synchronize()
        np.testing.assert_array_equal(back, sent)
        cuda.free(address)
        cuda.free_pinned(there)
        cuda.free_pinned(back)
    cuda.close()
    gpu.check_clean()


def test_what_cuda_refuses_is_an_inference_error(door):
    gpu, cuda = door
    gpu.free_bytes = 100
    with pytest.raises(InferenceError, match=r"CUDA failed: .*[Mm]emory"), cuda.active():
        cuda.allocate(1000)
    with cuda.active():  # the context is as it was
        cuda.free(cuda.allocate(10))


def test_events_tell_the_gpus_own_time(door):
    gpu, cuda = door
    with cuda.active():
        first = cuda.mark()
        cuda.synchronize()
        gpu.now_ms += 2.5
        second = cuda.mark()
        cuda.synchronize()
        assert cuda.elapsed_ms(first, second) == 2.5


def test_pycuda_is_taken_first_and_cuda_python_has_the_graphs(monkeypatch):
    for install in DOORS.values():
        install(monkeypatch, FakeGpu())
    assert open_cuda().name == "pycuda"
    assert open_cuda_graphs().name == "cuda-python"


def test_a_work_that_fails_ends_the_capture(monkeypatch):
    gpu = FakeGpu()
    install_cuda_python(monkeypatch, gpu)
    cuda = open_cuda_graphs()

    def work():
        raise InferenceError("refused")

    with cuda.active(), pytest.raises(InferenceError, match="refused"):
        cuda.capture(work)
    assert gpu.streams[cuda.stream].captured is None


def test_a_named_library_that_is_missing_is_an_error(monkeypatch):
    install_cuda_python(monkeypatch, FakeGpu())
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(InputError, match=r"pip install 'zsad\[pycuda\]'"):
        open_cuda("pycuda")


def test_the_real_cuda_python_without_a_driver_is_bad_input():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=r"no usable GPU: CUDA failed: .*'cuda-python<13'"):
        open_cuda_graphs()

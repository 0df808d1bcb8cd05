"""The two CUDA libraries over the fake GPU: as much of each as `zsad.backends` calls."""

from __future__ import annotations

import enum
import sys
import types

import numpy as np
from fake_gpu import Call, Copy


def install_pycuda(monkeypatch, gpu):
    """Put a `pycuda.driver` over `gpu` into place (documen.tician.de/pycuda/driver.html)."""
    driver = types.ModuleType("pycuda.driver")

    class Error(Exception):
        pass

    class Context:
        def push(self):
            gpu.push()

        @staticmethod
        def pop():
            gpu.pop()

        def detach(self):
            gpu.retained -= 1

    class Device:
        def __init__(self, index):
            if gpu.name is None:
                raise Error("cuDeviceGet failed: invalid device ordinal")

        def retain_primary_context(self):
            gpu.retained += 1
            return Context()

    class Allocation:
        def __init__(self, n_bytes):
            try:
                self.address = gpu.allocate(n_bytes)
            except MemoryError:
                raise Error("cuMemAlloc failed: out of memory") from None

        def __int__(self):
            return self.address

        def free(self):
            gpu.free(self.address)

    class HostAllocation:
        def __init__(self, n_bytes):
            self.memory = gpu.pin(n_bytes)
            self.__array_interface__ = self.memory.__array_interface__

        def free(self):
            gpu.unpin(self.memory.ctypes.data)

    class Stream:
        def __init__(self):
            self.inner = gpu.stream()
            self.handle = self.inner.handle

        def synchronize(self):
            self.inner.synchronize()

        def __del__(self):
            gpu.streams.pop(self.handle, None)

    class Event:
        def record(self, stream):
            stream.inner.submit(Call(lambda: setattr(self, "at", gpu.now_ms)))
            return self

        def time_till(self, other):
            return other.at - self.at

    def copy(to_device):
        def run(target, source, stream):
            address, host = (target, source) if to_device else (source, target)
            stream.inner.submit(Copy(gpu, address, host.ctypes.data, host.nbytes, to_device))

        return run

    def pagelocked_empty(n_bytes, dtype):
        assert dtype == np.uint8
        return np.asarray(HostAllocation(n_bytes))

    driver.Error, driver.Device, driver.Stream, driver.Event = Error, Device, Stream, Event
    driver.init = lambda: None
    driver.mem_alloc, driver.pagelocked_empty = Allocation, pagelocked_empty
    driver.memcpy_htod_async, driver.memcpy_dtoh_async = copy(True), copy(False)
    package = types.ModuleType("pycuda")
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35


def install_cuda_python(monkeypatch, gpu):
    """Put a `cuda.bindings.runtime` over `gpu` into place (nvidia.github.io/cuda-python)."""
    runtime = types.ModuleType("cuda.bindings.runtime")
    done = Status.cudaSuccess

    def set_device(index):
        if gpu.name is None:
            return (Status.cudaErrorInsufficientDriver,)
        gpu.choose()
        return (done,)

    def create_stream(flags):
        return done, gpu.stream().handle

    def allocate(n_bytes):
        try:
            return done, gpu.allocate(n_bytes)
        except MemoryError:
            return Status.cudaErrorMemoryAllocation, None

    def free_host(pointer):
        gpu.unpin(pointer)
        return (done,)

    def free(address):
        gpu.free(address)
        return (done,)

    def copy(target, source, n_bytes, kind, stream):
        to_device = kind == 1
        address, pointer = (target, source) if to_device else (source, target)
        gpu.streams[stream].submit(Copy(gpu, address, pointer, n_bytes, to_device))
        return (done,)

    def synchronize(stream):
        gpu.streams[stream].synchronize()
        return (done,)

    def destroy_stream(stream):
        del gpu.streams[stream]
        return (done,)

    def begin(stream, mode):
        gpu.streams[stream].begin_capture()
        return (done,)

    def launch(graph, stream):
        for operation in graph:
            gpu.streams[stream].submit(operation)
        gpu.trace.append("cudaGraphLaunch")
        return (done,)

    def record(event, stream):
        gpu.streams[stream].submit(Call(lambda: setattr(event, "at", gpu.now_ms)))
        return (done,)

    runtime.cudaError_t = Status
    runtime.cudaMemcpyKind = enum.IntEnum(
        "cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2}
    )
    runtime.cudaStreamCaptureMode = enum.IntEnum(
        "cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1}
    )
    runtime.cudaStreamNonBlocking = 1
    runtime.cudaSetDevice = set_device
    runtime.cudaGetErrorString = lambda status: (done, status.name.encode())
    runtime.cudaStreamCreateWithFlags = create_stream
    runtime.cudaStreamDestroy = destroy_stream
    runtime.cudaStreamSynchronize = synchronize
    runtime.cudaMallocHost = lambda n_bytes: (done, gpu.pin(n_bytes).ctypes.data)
    runtime.cudaFreeHost = free_host
    runtime.cudaMalloc = allocate
    runtime.cudaFree = free
    runtime.cudaMemcpyAsync = copy
    runtime.cudaStreamBeginCapture = begin
    runtime.cudaStreamEndCapture = lambda stream: (done, gpu.streams[stream].end_capture())
    runtime.cudaGraphInstantiate = lambda graph, flags: (done, list(graph))
    runtime.cudaGraphDestroy = lambda graph: (done,)
    runtime.cudaGraphExecDestroy = lambda graph: (done,)
    runtime.cudaGraphLaunch = launch
    runtime.cudaEventCreate = lambda: (done, types.SimpleNamespace())
    runtime.cudaEventRecord = record
    runtime.cudaEventElapsedTime = lambda first, second: (done, second.at - first.at)
    bindings, package = types.ModuleType("cuda.bindings"), types.ModuleType("cuda")
    bindings.runtime, package.bindings = runtime, bindings
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)

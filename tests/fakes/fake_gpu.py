"""A GPU made of plain memory that knows CUDA's rules and is strict about them.

What the real one answers with a crash or with wrong numbers is a `DeviceFault` here. Work on a
stream is kept until somebody synchronises, as the CUDA C++ Programming Guide allows ("Asynchronous
Concurrent Execution"): whoever reads a result too early reads poison.
"""

from __future__ import annotations

import threading

import numpy as np

POISON = 0xCD
ALIGNMENT = 256  # cudaMalloc: "suitably aligned for any kind of variable", 256 bytes at least


class DeviceFault(AssertionError):
    """Something that a real device punishes."""


class Copy:
    """A copy between page-locked and device memory, either way."""

    def __init__(self, gpu, address, pointer, n_bytes, to_device):
        self.gpu, self.address, self.pointer = gpu, address, pointer
        self.n_bytes, self.to_device = n_bytes, to_device
        gpu.device_bytes(address, n_bytes), gpu.host_bytes(pointer, n_bytes)

    def submitted(self):
        if not self.to_device:
            self.gpu.host_bytes(self.pointer, self.n_bytes)[:] = POISON

    def run(self):
        device = self.gpu.device_bytes(self.address, self.n_bytes)
        host = self.gpu.host_bytes(self.pointer, self.n_bytes)
        if self.to_device:
            device[:] = host
        else:
            host[:] = device


class Call:
    """Any other work."""

    def __init__(self, run):
        self.run = run

    def submitted(self):
        pass


class Stream:
    def __init__(self, gpu, handle):
        self.gpu, self.handle = gpu, handle
        self.pending, self.captured = [], None

    def submit(self, operation):
        self.gpu.require_context()
        if self.captured is not None:
            self.captured.append(operation)
            return
        operation.submitted()
        self.pending.append(operation)

    def synchronize(self):
        self.gpu.require_context()
        if self.captured is not None:
            raise DeviceFault("a stream that captures cannot be synchronised")
        while self.pending:
            self.pending.pop(0).run()

    def begin_capture(self):
        self.gpu.require_context()
        if self.pending:
            raise DeviceFault("capture begins while work is pending: warm up, then synchronise")
        self.captured = []

    def end_capture(self):
        captured, self.captured = self.captured, None
        return captured


class FakeGpu:
    """Memory, streams and the primary context of one GPU.

    Attributes:
        trace: Names of the calls in their order.
    """

    def __init__(self, name="Orin", sm=87):
        self.name, self.sm = name, sm
        self.trace = []
        self.device, self.pinned, self.streams = {}, {}, {}
        self.retained = 0
        self.now_ms = 0.0
        self.free_bytes = 1 << 40
        self._next = 0x7F00_0000_0000
        self._current = threading.local()
        self._owner = None

    def push(self):
        self._current.depth = getattr(self._current, "depth", 0) + 1

    def choose(self):
        """Do what cudaSetDevice does: the primary context is current in this thread from now on."""
        self._current.chosen = True

    def pop(self):
        if not getattr(self._current, "depth", 0):
            raise DeviceFault("a context is popped that was not pushed")
        self._current.depth -= 1

    def require_context(self):
        if not (getattr(self._current, "depth", 0) or getattr(self._current, "chosen", False)):
            raise DeviceFault("no context is current in this thread")
        self._owner = self._owner or threading.get_ident()
        if self._owner != threading.get_ident():
            raise DeviceFault("two threads use one context")

    def allocate(self, n_bytes):
        self.require_context()
        if n_bytes > self.free_bytes:
            raise MemoryError
        address, self._next = self._next, self._next + -(-n_bytes // ALIGNMENT) * ALIGNMENT + 4096
        self.device[address] = np.full(n_bytes, POISON, np.uint8)
        return address

    def free(self, address):
        self.require_context()
        if address not in self.device:
            raise DeviceFault("device memory is freed twice, or was never allocated")
        del self.device[address]

    def pin(self, n_bytes):
        self.require_context()
        memory = np.full(n_bytes, POISON, np.uint8)
        self.pinned[memory.ctypes.data] = memory
        return memory

    def unpin(self, pointer):
        self.require_context()
        if pointer not in self.pinned:
            raise DeviceFault("page-locked memory is freed twice, or was never allocated")
        del self.pinned[pointer]

    def device_bytes(self, address, n_bytes):
        return self._inside(self.device, address, n_bytes, "device")

    def host_bytes(self, pointer, n_bytes):
        return self._inside(self.pinned, pointer, n_bytes, "page-locked")

    def stream(self):
        self.require_context()
        handle = 0x5000 + len(self.streams)
        self.streams[handle] = Stream(self, handle)
        return self.streams[handle]

    def check_idle(self):
        """Fault if results were handed out while work was pending."""
        if any(stream.pending for stream in self.streams.values()):
            raise DeviceFault("results are read before the stream is synchronised")

    def check_clean(self):
        """Fault if something was not given back."""
        left = {"device": self.device, "page-locked": self.pinned, "stream": self.streams}
        if leaks := [name for name, held in left.items() if held]:
            raise DeviceFault(f"not given back: {', '.join(leaks)}")
        if getattr(self._current, "depth", 0) or self.retained:
            raise DeviceFault("the context is still held")

    def _inside(self, blocks, address, n_bytes, kind):
        for start, memory in blocks.items():
            if start <= address < start + max(1, memory.nbytes):
                begin = address - start
                if begin + n_bytes > memory.nbytes:
                    raise DeviceFault(f"{n_bytes} bytes of {memory.nbytes} of {kind} memory")
                return memory[begin : begin + n_bytes]
        raise DeviceFault(f"{kind} memory is used that is not allocated, or was freed")

"""Where built engines live: outside the artifact, for they belong to a device."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zsad.device import Gpu
from zsad.device_cache import device_cache
from zsad.errors import InputError
from zsad.schema import from_json, read_json, sha256_file, sha256_of, write_atomic, write_json

SCHEMA = 2

_OLDEST_PORTABLE_SM = 80  # AMPERE_PLUS, the hardware compatibility level
_JETSON_SMS = frozenset({87, 101, 110})  # Orin and Thor, where it does not hold


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built with.

    Attributes:
        max_batch: Largest batch that the engine takes; it is tuned for one image.
        workspace_mib: Largest scratch memory of a layer; None is all that the GPU has.
        optimization_level: 0 to 5, how long the compiler searches; None is its own default.
        version_compatible: Runs in newer TensorRT releases too; may be slower.
        hardware_compatible: Runs on every GPU from Ampere on except Jetsons; may be slower.
        tf32: FP32 products may round their factors to TF32's 10 bits, as TensorRT does unless told
            otherwise: faster from Ampere on, and not what the parity limits of FP32 are for.
    """

    max_batch: int = 8
    workspace_mib: int | None = None
    optimization_level: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    tf32: bool = False

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise InputError(f"--max-batch {self.max_batch} leaves nothing: use 1 or more")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InputError(f"--workspace-mib {self.workspace_mib} leaves nothing: use 1 or more")
        if self.optimization_level is not None and self.optimization_level not in range(6):
            raise InputError(f"--optimization-level {self.optimization_level} is not 0 to 5")


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on; another value of any of it is another engine.

    Attributes:
        graph_sha256: Hash of the ONNX file.
        precision: Of the graph.
        compiler: `tensorrt_rtx` or `tensorrt`.
        version: The compiler's version.
        device: The GPU's name and architecture, or the architectures it was compiled for.
        options: What it was built with.
    """

    graph_sha256: str
    precision: str
    compiler: str
    version: str
    device: str
    options: BuildOptions

    def runs(self, compiler: str, version: str, gpu: Gpu) -> bool:
        """Return whether the engine can be loaded by that TensorRT package on that GPU."""
        same_version = self.version == version or (
            self.options.version_compatible and _number(self.version) <= _number(version)
        )
        portable = self.options.hardware_compatible and all(
            sm >= _OLDEST_PORTABLE_SM and sm not in _JETSON_SMS for sm in (gpu.sm, self._built_on())
        )
        fits = portable or self.device == str(gpu) or f"sm{gpu.sm}" in self._architectures()
        return self.compiler == compiler and same_version and fits

    def _built_on(self) -> int:
        found = re.search(r"sm(\d+)$", self.device)
        return int(found[1]) if found else 0

    def _architectures(self) -> list[str]:
        # What TensorRT builds is for one GPU by its name, `Orin sm87`; RTX's is for `sm86 sm89`.
        return self.device.split() if self.compiler == "tensorrt_rtx" else []


@dataclass(frozen=True)
class EngineRecord:
    """What stands beside an engine in the cache, as JSON.

    Attributes:
        compute_types: Number of compute layers per type in the network that was built.
        engine_types: Number of tensors per type in the engine that came out; None where no driver
            could load it, empty where its inspector names none.
    """

    schema: int
    key: EngineKey
    sha256: str
    compute_types: Mapping[str, int]
    engine_types: Mapping[str, int] | None = None


def cache_root() -> Path:
    """Return the folder of this device's engines."""
    return device_cache() / "engines"


def engine_path(key: EngineKey, root: Path) -> Path:
    """Return where the engine of `key` is, or would be."""
    return root / f"{key.precision}-{key.compiler}-{sha256_of(key)[:24]}.engine"


def find_engine(key: EngineKey, root: Path) -> EngineRecord | None:
    """Return the record of a cached engine, None if it is not there or is damaged."""
    record = _read_record(engine_path(key, root).with_suffix(".json"))
    return record if record is not None and record.key == key and _is_whole(record, root) else None


def cached_engines(root: Path) -> list[EngineRecord]:
    """Return the records of all engines in the cache, the one last built or renewed first."""
    paths = [path for path in root.glob("*.json") if path.with_suffix(".engine").is_file()]
    paths.sort(key=lambda path: path.with_suffix(".engine").stat().st_mtime_ns, reverse=True)
    return [record for path in paths if (record := _read_record(path)) is not None]


def load_engine(record: EngineRecord, root: Path) -> bytes:
    """Return the bytes of an engine.

    Raises:
        InputError: It was removed or altered.
    """
    path = engine_path(record.key, root)
    plan = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(plan).hexdigest() != record.sha256:
        raise InputError(f"{path} is damaged: delete it and run zsad-engine again")
    return plan


def renew_engine(key: EngineKey, root: Path) -> None:
    """Make a cached engine the newest one, as if it had just been built.

    Raises:
        InputError: The cache cannot be written.
    """
    path = engine_path(key, root)
    try:
        now = time.time_ns()  # the file system's own clock may lag by some milliseconds
        os.utime(path, ns=(now, now))
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}: set ZSAD_CACHE to a folder that can be written"
        ) from None


def store_engine(
    key: EngineKey,
    plan: bytes | memoryview,
    compute_types: Mapping[str, int],
    root: Path,
    engine_types: Mapping[str, int] | None = None,
) -> EngineRecord:
    """Write an engine, then its record, each whole or not at all.

    Raises:
        InputError: The cache cannot be written.
    """
    path = engine_path(key, root)
    make_folder(root)
    write_atomic(path, plan)
    types = None if engine_types is None else dict(engine_types)
    record = EngineRecord(SCHEMA, key, sha256_file(path), dict(compute_types), types)
    write_json(path.with_suffix(".json"), record)
    return record


def make_folder(root: Path) -> None:
    """Make the cache's folder.

    Raises:
        InputError: It cannot be made, or nothing can be written into it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the engine cache {root}: {error.strerror}: set ZSAD_CACHE to a folder"
        ) from None
    if not os.access(root, os.W_OK | os.X_OK):
        raise InputError(
            f"cannot write into the engine cache {root}: set ZSAD_CACHE to a folder that can be"
            " written"
        )


def _read_record(path: Path) -> EngineRecord | None:
    try:
        return from_json(EngineRecord, read_json(path, "engine record"), str(path))
    except InputError:
        return None


def _is_whole(record: EngineRecord, root: Path) -> bool:
    path = engine_path(record.key, root)
    return path.is_file() and sha256_file(path) == record.sha256


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))

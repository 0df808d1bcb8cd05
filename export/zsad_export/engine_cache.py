"""Where built engines live: outside the artifact, for they belong to a device. Torch-free."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zsad.errors import InputError
from zsad.schema import from_json, read_json, sha256_file, sha256_of, write_atomic, write_json

SCHEMA = 1


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on; another value of any of it is another engine.

    Attributes:
        graph_sha256: Hash of the ONNX file.
        precision: Of the graph.
        compiler: `tensorrt_rtx` or `tensorrt`.
        version: The compiler's version.
        device: The GPU's name and architecture, or the architectures it was compiled for.
        max_batch: Largest batch that the engine takes; it is tuned for one image.
    """

    graph_sha256: str
    precision: str
    compiler: str
    version: str
    device: str
    max_batch: int


@dataclass(frozen=True)
class EngineRecord:
    """What stands beside an engine in the cache, as JSON.

    Attributes:
        compute_types: Number of compute layers per type in the network that was built.
    """

    schema: int
    key: EngineKey
    sha256: str
    compute_types: Mapping[str, int]


def cache_root() -> Path:
    """Return the folder of the engines: below `ZSAD_CACHE`, else below the user's cache."""
    configured = os.environ.get("ZSAD_CACHE")
    if configured:
        return Path(configured) / "engines"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "zsad" / "engines"


def engine_path(key: EngineKey, root: Path) -> Path:
    """Return where the engine of `key` is, or would be."""
    return root / f"{key.precision}-{key.compiler}-{sha256_of(key)[:24]}.engine"


def find_engine(key: EngineKey, root: Path) -> EngineRecord | None:
    """Return the record of a cached engine, None if it is not there or is damaged."""
    path = engine_path(key, root)
    try:
        data = read_json(path.with_suffix(".json"), "engine record")
        record = from_json(EngineRecord, data, str(path))
    except InputError:
        return None
    whole = path.is_file() and record.key == key and sha256_file(path) == record.sha256
    return record if whole else None


def store_engine(
    key: EngineKey, plan: bytes | memoryview, compute_types: Mapping[str, int], root: Path
) -> EngineRecord:
    """Write an engine, then its record, each whole or not at all.

    Raises:
        InputError: The cache cannot be written.
    """
    path = engine_path(key, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the engine cache {root}: {error.strerror}: set ZSAD_CACHE to a folder"
        ) from None
    write_atomic(path, plan)
    record = EngineRecord(SCHEMA, key, sha256_file(path), dict(compute_types))
    write_json(path.with_suffix(".json"), record)
    return record

"""What exactly computes the verdicts, so that a change of it is seen and written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy
import PIL

import zsad
from zsad.backends.auto import package_version
from zsad.backends.built_plan import PACKAGES
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.schema import from_json, read_json, write_json

SCHEMA = 1

_PACKAGES: Mapping[str, str] = {
    "openvino": "openvino",
    "openvino-bf16": "openvino",
    **PACKAGES,
}
"""By backend, the package that computes; ONNX Runtime for any other."""

_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))
"""Where a desktop's driver and a Jetson's say what they are, on the first line."""


@dataclass(frozen=True)
class EngineIdentity:
    """Everything that the numbers of an engine depend on.

    Attributes:
        graph: SHA-256 of the graph.
        backend: Name of the backend.
        provider: What really runs it, in the engine's own words, its device included.
        engine: SHA-256 of the engine's file; None where the graph itself was loaded.
        driver: The GPU's driver, in its own words; None where there is none.
        versions: Of the packages that compute, the one that resizes frames included.
    """

    graph: str
    backend: str
    provider: str
    engine: str | None
    driver: str | None
    versions: Mapping[str, str]
    schema: int = SCHEMA

    def changes_from(self, before: EngineIdentity) -> tuple[str, ...]:
        """Return what is another than before, one `name: old -> new` each."""
        old, new = before._table(), self._table()
        names = [*old, *(name for name in new if name not in old)]
        return tuple(
            f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
            for name in names
            if old.get(name) != new.get(name)
        )

    def describe(self) -> str:
        """Return the identity in one line."""
        return ", ".join(f"{name} {value}" for name, value in self._table().items())

    def _table(self) -> dict[str, str]:
        names = [each.name for each in fields(self) if each.name not in ("versions", "schema")]
        table = {name: getattr(self, name) for name in names}
        return {name: str(value) for name, value in table.items() if value is not None} | dict(
            self.versions
        )


def identity_of(detector: Detector, drivers: tuple[Path, ...] = _DRIVERS) -> EngineIdentity:
    """Return what a detector computes with; `drivers` are the files that name the driver."""
    backend = detector.backend
    package = _PACKAGES.get(backend.name, "onnxruntime")
    return EngineIdentity(
        graph=detector.graph.sha256,
        backend=backend.name,
        provider=backend.provider,
        engine=backend.engine_sha256,
        driver=_driver(drivers),
        versions={
            package: package_version(package),
            "numpy": numpy.__version__,
            "pillow": PIL.__version__,
            "zsad": zsad.__version__,
        },
    )


def recall_identity(path: Path) -> EngineIdentity | None:
    """Return what was within parity when this file was last written; None if nothing is known."""
    try:
        found = from_json(EngineIdentity, read_json(path, "engine identity"), str(path))
    except InputError:  # missing, damaged or of another version: as on the first day
        return None
    return found if found.schema == SCHEMA else None


def remember_identity(path: Path, identity: EngineIdentity) -> None:
    """Write down what is within parity.

    Raises:
        InputError: The folder is missing or cannot be written.
    """
    write_json(path, identity)


def _driver(files: tuple[Path, ...]) -> str | None:
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        if lines:
            return " ".join(lines[0].split())
    return None

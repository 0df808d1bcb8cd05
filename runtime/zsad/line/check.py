"""Whether a line could run, without contacting a camera, a broker or a PLC."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsad.artifact import Artifact
from zsad.backends.base import choose_precision
from zsad.errors import InputError, MissingExtraError
from zsad.line.config import LineConfig
from zsad.line.recipes import cameras_as_calibrated, read_recipes
from zsad.recipe import Recipe
from zsad.recipe_match import calibration_of, covered_by_most, refusal_of
from zsad.sinks import SecretRef
from zsad.sources import open_camera


def check_line(config: LineConfig) -> list[str]:
    """Open the files that a configuration names, and return what is worth knowing.

    Returns:
        One line each; a line that begins with `warning:` is about something that will not work as
        it may have been meant.

    Raises:
        InputError: Something cannot be used.
    """
    artifact = Artifact.open(config.artifact)
    said = [f"artifact {config.artifact}: {artifact.sha256[:12]}"]
    recipes = read_recipes(config)
    covered = covered_by_most([*recipes.values()], artifact, config.engine.backend)
    for camera in cameras_as_calibrated(config, recipes):
        open_camera(camera)  # looks for the programs that it takes, and opens nothing
        said.append(_recipe_line(config, artifact, recipes.get(camera.name), camera.name, covered))
        if camera.resolved_kind == "video" and not Path(camera.source).is_file():
            said.append(f"warning: camera {camera.name}: there is no file {camera.masked_source}")
    for secret in (*_secrets(config.sinks), *_secrets(config.server)):
        secret.read()
    _check_extras(config)
    _check_files(config)
    _check_writable(Path(config.ledger_folder))
    return said


def _recipe_line(
    config: LineConfig, artifact: Artifact, recipe: Recipe | None, camera: str, covered: set[str]
) -> str:
    if recipe is None:
        return f"warning: camera {camera} has no recipe: scores without a verdict"
    path, engine = config.recipe_of(camera), config.engine
    precision = engine.precision or choose_precision(artifact.manifest, engine.backend, covered)
    graph = artifact.graph(precision)
    if calibration_of(recipe, artifact, graph, engine.backend) is not None:
        return f"camera {camera}: recipe {path}, {precision} graph"
    refusal = refusal_of(recipe, artifact, graph, engine.backend)
    return f"warning: camera {camera}: every verdict would be NO_RESULT: {path}: {refusal}"


def _secrets(value: Any) -> Iterator[SecretRef]:
    """Yield every reference to a secret inside a configuration."""
    if isinstance(value, SecretRef):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _secrets(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets(item)


def _check_extras(config: LineConfig) -> None:
    wanted = {
        "paho": ("paho-mqtt", "an MQTT sink", bool(config.sinks.mqtt)),
        "pymodbus": ("pymodbus", "a Modbus sink", bool(config.sinks.modbus)),
        "prometheus_client": ("prometheus-client", "the status server", config.server is not None),
    }
    for module, (package, purpose, is_wanted) in wanted.items():
        if is_wanted and importlib.util.find_spec(module) is None:
            raise MissingExtraError(package, "line", purpose)


def _check_files(config: LineConfig) -> None:
    for name, jsonl in config.sinks.jsonl.items():
        if not Path(jsonl.path).parent.is_dir():
            raise InputError(f"sinks: jsonl: {name}: the folder of {jsonl.path} does not exist")
    files: list[tuple[str, str | None]] = []
    for name, mqtt in config.sinks.mqtt.items():
        if mqtt.tls is not None:
            files += [(name, f) for f in (mqtt.tls.ca, mqtt.tls.certificate, mqtt.tls.key)]
    files += [(name, webhook.ca) for name, webhook in config.sinks.webhook.items()]
    for name, file in files:
        if file is not None and not os.access(file, os.R_OK):
            raise InputError(f"sinks: {name}: {file} cannot be read")


def _check_writable(folder: Path) -> None:
    """Refuse a ledger's folder that could not be made or written."""
    existing = folder
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
    except OSError as error:  # a name that is too long
        raise InputError(f"ledger_folder {folder}: {error.strerror}") from None
    if not existing.is_dir():
        raise InputError(f"ledger_folder {folder}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"ledger_folder {folder}: {existing} cannot be written")

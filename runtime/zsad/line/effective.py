"""The configuration as it is in effect, defaults included, as text without a secret in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from zsad.line.config import LineConfig
from zsad.line.references import Secrets
from zsad.line.yaml_config import dump_yaml


def effective_text(config: LineConfig, secrets: Secrets) -> str:
    """Return a configuration as YAML, each secret as the reference that the file has for it."""
    return dump_yaml(_plain(config, secrets))


def _plain(value: Any, secrets: Secrets) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: _plain(getattr(value, f.name), secrets) for f in fields}
    if isinstance(value, Mapping):
        return {key: _plain(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, secrets) for item in value]
    return secrets.as_written(value) if isinstance(value, str) else value

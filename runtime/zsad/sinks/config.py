"""What a configuration says about the consumers of verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, permutations

from zsad.backoff import BackoffConfig
from zsad.errors import InputError
from zsad.sinks.listening import ModbusConfig, ServerConfig
from zsad.sinks.outgoing import JsonlConfig, MqttConfig, TlsConfig, WebhookConfig
from zsad.sinks.values import overlap

__all__ = [
    "JsonlConfig",
    "ModbusConfig",
    "MqttConfig",
    "ServerConfig",
    "SinksConfig",
    "TlsConfig",
    "WebhookConfig",
]


@dataclass(frozen=True)
class SinksConfig:
    """Every consumer of verdicts, each by a name of its own.

    The name is the consumer's place in the outbox: under a new name it begins anew.
    """

    jsonl: Mapping[str, JsonlConfig] = field(default_factory=dict)
    mqtt: Mapping[str, MqttConfig] = field(default_factory=dict)
    webhook: Mapping[str, WebhookConfig] = field(default_factory=dict)
    modbus: Mapping[str, ModbusConfig] = field(default_factory=dict)
    backoff: BackoffConfig = field(default_factory=BackoffConfig)

    def __post_init__(self) -> None:
        names = Counter([*self.jsonl, *self.mqtt, *self.webhook, *self.modbus])
        for name, count in names.items():
            if count > 1:
                raise InputError(f"sinks: two are named '{name}': give each a name of its own")
            if not name.isidentifier() and not name.replace("-", "_").isidentifier():
                raise InputError(f"sinks: name '{name}' must be letters, digits, - and _")
        self._check_files()
        self._check_ports()

    def _check_ports(self) -> None:
        """Refuse two sinks that would listen at one place, of which one never could."""
        for (name, one), (other_name, other) in combinations(self.modbus.items(), 2):
            if one.port == other.port and overlap(one.host, other.host):
                raise InputError(
                    f"sinks: modbus: '{name}' and '{other_name}' would both listen on port"
                    f" {one.port} of {other.host}: give each a port of its own"
                )

    def _check_files(self) -> None:
        """Refuse two sinks that would write, or put aside, the same file."""
        for (name, jsonl), (other_name, other) in permutations(self.jsonl.items(), 2):
            if jsonl.claims(other.path):
                raise InputError(
                    f"sinks: jsonl: '{name}' and '{other_name}' would both write {other.path}:"
                    " give each a file of its own"
                )

    def check_takt(self, takt_ms: float) -> None:
        """Check that no PLC gives a part up while the line may still have a verdict about it.

        Args:
            takt_ms: From a trigger to its verdict at the latest.

        Raises:
            InputError: One does.
        """
        for name, modbus in self.modbus.items():
            if modbus.verdict_s * 1e3 <= takt_ms:
                raise InputError(
                    f"sinks: modbus: {name}: verdict_s {modbus.verdict_s:g} must be longer than"
                    f" takt_ms {takt_ms:g}, by what a commit may take"
                )

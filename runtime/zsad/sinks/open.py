"""The table of the kinds of sinks, and the couriers of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zsad.sinks.base import OutboxLike, Sink, SinkContext, StatusOf, committed_head
from zsad.sinks.config import JsonlConfig, ModbusConfig, MqttConfig, SinksConfig, WebhookConfig
from zsad.sinks.courier import Courier, OnAcknowledged, OnParked


def _jsonl(name: str, config: JsonlConfig, context: SinkContext) -> Sink:
    from zsad.sinks.jsonl import JsonlSink

    return JsonlSink(name, config)


def _mqtt(name: str, config: MqttConfig, context: SinkContext) -> Sink:
    from zsad.sinks.mqtt import MqttSink

    return MqttSink(name, config, context)


def _webhook(name: str, config: WebhookConfig, context: SinkContext) -> Sink:
    from zsad.sinks.webhook import WebhookSink

    return WebhookSink(name, config)


def _modbus(name: str, config: ModbusConfig, context: SinkContext) -> Sink:
    from zsad.sinks.modbus import ModbusSink

    return ModbusSink(name, config, context)


KINDS: Mapping[str, Callable[[str, Any, SinkContext], Sink]] = {
    "jsonl": _jsonl,
    "mqtt": _mqtt,
    "webhook": _webhook,
    "modbus": _modbus,
}
"""How a sink is made, by the field of `SinksConfig` that it is configured in."""


def open_sinks(
    config: SinksConfig,
    ledger: OutboxLike,
    status: StatusOf,
    *,
    trigger: Callable[[str], bool] | None = None,
    on_acknowledged: OnAcknowledged = lambda sink, record, at_s: None,
    on_parked: OnParked = lambda sink, record, reason: None,
) -> list[Courier]:
    """Make the courier of every sink in a configuration; none is started.

    Args:
        config: The sinks.
        ledger: Where their records come from. Open it, and this, before the first commit of a run:
            what is in it already counts as an earlier run's.
        status: The line's state at the moment; called from many threads, must not block.
        trigger: Starts a part with the given id and returns whether a camera took it.
        on_acknowledged: Told of every acknowledged record, from the courier's thread.
        on_parked: Told of every record that a sink refused for good, likewise.

    Raises:
        InputError: A secret or a certificate cannot be read, an address is taken, or an extra is
            missing.
    """
    context = SinkContext(
        status().line, status, committed_head(ledger) + 1, trigger, len(config.modbus) > 1
    )
    sinks = [
        make(name, each, context)
        for kind, make in KINDS.items()
        for name, each in getattr(config, kind).items()
    ]
    return [Courier(sink, ledger, config.backoff, on_acknowledged, on_parked) for sink in sinks]

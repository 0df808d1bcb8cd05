"""The consumers of verdicts: files, brokers, web servers, a PLC, and who asks over HTTP."""

from zsad.sinks.base import (
    OutboxLike,
    RefusedError,
    Sink,
    SinkCause,
    SinkContext,
    SinkError,
)
from zsad.sinks.config import ServerConfig, SinksConfig
from zsad.sinks.courier import Courier, stop_couriers
from zsad.sinks.open import open_sinks
from zsad.sinks.pulse import Pulse, Reading
from zsad.sinks.secret import SecretRef
from zsad.sinks.server import StatusServer

__all__ = [
    "Courier",
    "OutboxLike",
    "Pulse",
    "Reading",
    "RefusedError",
    "SecretRef",
    "ServerConfig",
    "Sink",
    "SinkCause",
    "SinkContext",
    "SinkError",
    "SinksConfig",
    "StatusServer",
    "open_sinks",
    "stop_couriers",
]

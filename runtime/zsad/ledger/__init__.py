"""The ledger: verdicts, their pictures, who was told, and who changed what."""

from zsad.errors import LedgerError
from zsad.ledger.audit import AuditEvent
from zsad.ledger.config import LedgerConfig, OutboxConfig, RetentionConfig, SnapshotConfig
from zsad.ledger.ledger import Ledger
from zsad.ledger.outbox import Gap, gap_of
from zsad.ledger.pictures import Picture

__all__ = [
    "AuditEvent",
    "Gap",
    "Ledger",
    "LedgerConfig",
    "LedgerError",
    "OutboxConfig",
    "Picture",
    "RetentionConfig",
    "SnapshotConfig",
    "gap_of",
]

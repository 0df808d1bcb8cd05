"""What decides about verdicts and changed since the last start: a row of the audit for each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zsad.credentials import mask_credentials
from zsad.errors import InputError, LedgerError
from zsad.ledger import AuditEvent, Ledger
from zsad.ledger.audit import AuditKind
from zsad.line.monitor import Monitor
from zsad.line.recipes import Recipes
from zsad.line.record import VerdictRecord
from zsad.schema import from_json, read_json, sha256_of, write_json
from zsad.watch.parity import EngineChange

MEMORY = "line.json"

_WHO = "zsad-run"


@dataclass(frozen=True)
class Setting:
    """What a line was started with; hashes, and thresholds by camera, graph and type."""

    configuration: str
    recipes: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, str] = field(default_factory=dict)


class AuditTrail:
    """What must be in the audit, written as soon as the ledger takes it; any thread may leave.

    A change that was not written yet is a fault of the line, and is not undone: an engine that was
    ruled out must not come back for want of a row.
    """

    def __init__(self, ledger: Ledger, monitor: Monitor) -> None:
        """Write into `ledger`."""
        self._ledger = ledger
        self._monitor = monitor
        self._lock = threading.Lock()
        self._waiting: deque[AuditEvent] = deque()

    def leave(self, event: AuditEvent) -> None:
        """Keep an event for the next `retry`: who judges or delivers must not wait for the disk."""
        self._waiting.append(event)

    def retry(self) -> None:
        """Write what waits, oldest first."""
        with self._lock:
            try:
                while self._waiting:
                    self._ledger.audit(self._waiting[0])
                    self._waiting.popleft()
            except LedgerError as error:
                reason = f"the audit cannot be written: {error}"
                self._monitor.raise_condition("fault", "audit", reason)
                return
        self._monitor.clear_condition("fault", "audit")


def engine_event(line: str, change: EngineChange) -> AuditEvent:
    """Return the event that another engine judges, or none."""
    what = f"engine of {line}"
    reason = mask_credentials(change.reason)
    return AuditEvent("engine", _WHO, what, reason, change.before, change.after)


def parked_event(sink: str, record: VerdictRecord, reason: str) -> AuditEvent:
    """Return the event that a consumer will never have a verdict, since it refused it for good."""
    return AuditEvent("outbox", _WHO, f"verdict {record.seq} parked by {sink}", reason)


def audit_changes(ledger: Ledger, folder: Path, effective: str, recipes: Recipes) -> None:
    """Write into the audit what changed since the line was last started, then remember it.

    Args:
        ledger: Whose audit.
        folder: The ledger's folder.
        effective: The line's configuration as text without secrets, which is what is hashed.
        recipes: What it judges by.

    Raises:
        LedgerError: The audit cannot be written, so the line must not start.
    """
    before, now = _recall(folder / MEMORY), setting_of(effective, recipes)
    for event in changes(before, now):
        ledger.audit(event)
    if now != before:
        write_json(folder / MEMORY, now)


def setting_of(effective: str, recipes: Recipes) -> Setting:
    """Return what decides about the verdicts of a line."""
    thresholds: dict[str, str] = {}
    for camera, recipe in recipes.items():
        for each in recipe.calibrations:
            key = f"{camera}: {each.graph_sha256[:12]} {each.arithmetic or ''}".strip()
            thresholds[key] = f"{each.score_kind} > {each.threshold!r}"
            for own in each.types:
                thresholds[f"{key} {own.name}"] = f"{each.score_kind} > {own.threshold!r}"
    hashes = {camera: sha256_of(recipe) for camera, recipe in recipes.items()}
    return Setting(sha256_of(effective), hashes, thresholds)


def changes(before: Setting | None, now: Setting) -> list[AuditEvent]:
    """Return one event for each thing that is another than before."""
    old = before or Setting("")
    reason = "first start" if before is None else "found at the start"
    found: list[AuditEvent] = []
    tables: tuple[tuple[AuditKind, Mapping[str, str], Mapping[str, str]], ...] = (
        ("configuration", {"line": old.configuration}, {"line": now.configuration}),
        ("recipe", old.recipes, now.recipes),
        ("threshold", old.thresholds, now.thresholds),
    )
    for kind, table_before, table_now in tables:
        for key in sorted({*table_before, *table_now}):
            was, is_now = table_before.get(key) or None, table_now.get(key)
            if was != is_now:
                found.append(AuditEvent(kind, _WHO, f"{kind} of {key}", reason, was, is_now))
    return found


def _recall(path: Path) -> Setting | None:
    try:
        return from_json(Setting, read_json(path, "line's memory"), str(path))
    except InputError:  # missing or damaged: everything counts as new, and is written down again
        return None

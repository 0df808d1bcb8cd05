"""Writes a ledger of today's schema as SQL: `python tests/data/freeze_ledger.py tests/data/X.sql`.

Every schema once published stays readable, so a frozen file is never written again: after a change
of schema, run this for a new one and add it to `tests/runtime/ledger/test_frozen_ledger.py`.
"""

import sqlite3
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/fakes"), str(ROOT / "runtime")]

from ledger_child import part_of  # noqa: E402

from zsad.ledger import AuditEvent, Ledger  # noqa: E402
from zsad.ledger.database import APPLICATION_ID, FILE, SCHEMA  # noqa: E402


class Clocks:
    def boot_id(self):
        return "boot-1"

    def boot_s(self):
        return 100.0

    def wall_s(self):
        return 1_800_000_000.0


def freeze(target):
    if target.exists():
        sys.exit(f"{target} exists: a frozen schema is never written again")
    with tempfile.TemporaryDirectory() as folder:
        with Ledger.open(folder, clocks=Clocks()) as ledger:
            ledger.register("plc")
            ledger.audit(AuditEvent("threshold", "k.meier", "fp32", "false rejects", "0.5", "0.6"))
            for number in range(3):
                record, _ = part_of(number)
                ledger.commit(replace(record, capture_to_verdict_ms=40.5 + number))
            ledger.acknowledge("plc", 2)
        connection = sqlite3.connect(Path(folder) / FILE)
        pragmas = [f"PRAGMA application_id={APPLICATION_ID};", f"PRAGMA user_version={SCHEMA};"]
        target.write_text("\n".join([*connection.iterdump(), *pragmas]) + "\n")
        connection.close()


if __name__ == "__main__":
    freeze(Path(sys.argv[1]))

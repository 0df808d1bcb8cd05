import sqlite3

import pytest

from zsad.ledger import AuditEvent, Ledger, audit
from zsad.ledger.database import FILE

EVENTS = [
    AuditEvent("threshold", "k.meier", "threshold of fp32", "false rejects", "0.5", "0.6"),
    AuditEvent("recipe", "k.meier", "housing.json", "new lens", None, "c" * 64),
    AuditEvent("override", "k.meier", "verdict 17", "seen by hand"),
]


@pytest.fixture
def audited(tmp_path, make_verdict):
    """A connection to a ledger with three rows of audit, and a verdict after them."""
    with Ledger.open(tmp_path) as ledger:
        rows = [ledger.audit(event) for event in EVENTS]
        ledger.commit(make_verdict(1))
    assert [row.id for row in rows] == [1, 2, 3]
    connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    yield connection
    connection.close()


def tamper(connection, statement):
    connection.execute("DROP TRIGGER audit_is_not_changed")
    connection.execute("DROP TRIGGER audit_is_not_deleted")
    connection.execute(statement)
    return list(audit.check_chain(connection))


def test_who_what_when_and_why_are_kept(audited):
    rows = list(audit.rows(audited))
    kept = [
        AuditEvent(row.kind, row.who, row.what, row.reason, row.before, row.after) for row in rows
    ]
    assert kept == EVENTS
    assert all(row.utc.endswith("+00:00") for row in rows)
    assert list(audit.check_chain(audited)) == []


@pytest.mark.parametrize("statement", ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit"])
def test_plain_sqlite3_cannot_change_it_by_accident(audited, statement):
    with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
        audited.execute(statement)


@pytest.mark.parametrize("column", ["utc", "kind", "who", "what", "before", "after", "reason"])
def test_any_changed_field_is_found(audited, column):
    found = tamper(audited, f"UPDATE audit SET {column} = 'x' WHERE id = 2")
    assert found == ["audit: row 2 was altered, or the row before it was"]


def test_a_removed_row_is_found_at_the_start_in_the_middle_and_at_the_end(audited):
    assert "audit: row 2 is missing" in tamper(audited, "DELETE FROM audit WHERE id = 2")
    audited.execute("DELETE FROM audit WHERE id = 3")
    assert list(audit.check_chain(audited)) == [
        "audit: rows 2 to 3 are missing: verdicts name them"
    ]
    audited.execute("DELETE FROM audit")
    assert list(audit.check_chain(audited)) == [
        "audit: rows 1 to 3 are missing: verdicts name them"
    ]


def test_rows_that_changed_places_are_found(audited):
    tamper(audited, "UPDATE audit SET id = 9 WHERE id = 1")
    audited.execute("UPDATE audit SET id = 1 WHERE id = 2")
    audited.execute("UPDATE audit SET id = 2 WHERE id = 9")
    assert len(list(audit.check_chain(audited))) == 3

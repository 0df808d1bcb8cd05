"""What tests of the ledger look with, and a disk that does not say that it has what it has."""

import sqlite3

from zsad.ledger import shelf
from zsad.ledger.database import FILE


def query(folder, sql, *values):
    """Run one statement beside the ledger, as another program would."""
    connection = sqlite3.connect(folder / FILE, isolation_level=None)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def commit_unheard(patch):
    """Have every verdict reach the disk and its commit fail all the same."""
    enter = shelf.enter

    def fail_afterwards(connection, record, stored):
        enter(connection, record, stored)
        connection.execute("COMMIT")
        raise OSError("the disk did not say that it had it")

    patch.setattr(shelf, "enter", fail_afterwards)

"""What the papers print: figures of every method on every data set of their main tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from zsad.errors import InputError
from zsad.schema import from_json, read_json

FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Paper:
    """Where tables are from, and what must be known to read them."""

    source: str
    note: str


@dataclass(frozen=True)
class Table:
    """One printed table.

    Attributes:
        paper: A key of `Published.papers`.
        trained_on: The auxiliary data set, by the name that a spec uses.
        metrics: Keys of the figures.
        methods: The columns.
        rows: By the data set tested on: for each method its figures in percent, as `metrics`.
    """

    paper: str
    trained_on: str
    metrics: tuple[str, ...]
    methods: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[float, ...], ...]]


@dataclass(frozen=True)
class Published:
    """All tables."""

    papers: Mapping[str, Paper]
    tables: tuple[Table, ...]

    def tested_on(self, paper: str, trained_on: str) -> tuple[str, ...]:
        """Return the data sets of a paper's tables, in their order; none if it has no table."""
        tables = [t for t in self.tables if (t.paper, t.trained_on) == (paper, trained_on)]
        return tuple(dict.fromkeys(name for table in tables for name in table.rows))

    def figures(
        self, paper: str, trained_on: str, tested_on: str, method: str
    ) -> Mapping[str, float]:
        """Return what the paper prints of a method, in percent by metric; empty if nothing."""
        found: dict[str, float] = {}
        for table in self.tables:
            same = (table.paper, table.trained_on) == (paper, trained_on)
            if same and tested_on in table.rows and method in table.methods:
                values = table.rows[tested_on][table.methods.index(method)]
                found.update(zip(table.metrics, values, strict=True))
        return found

    def trained_for(self, paper: str, tested_on: str) -> str:
        """Return the auxiliary data set that a paper tests a data set with, the first if several.

        Raises:
            InputError: The paper does not test on it.
        """
        for table in self.tables:
            if table.paper == paper and tested_on in table.rows:
                return table.trained_on
        known = dict.fromkeys(n for t in self.tables if t.paper == paper for n in t.rows)
        raise InputError(
            f"{paper} does not test on '{tested_on}': choose one of {', '.join(known)}"
        )


@cache
def published() -> Published:
    """Read the tables."""
    return from_json(Published, read_json(FILE, "published figures"), str(FILE))

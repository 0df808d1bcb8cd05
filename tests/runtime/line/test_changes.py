import sqlite3
from dataclasses import replace

import pytest
from fake_outbox import make_record

from zsad.errors import LedgerError
from zsad.ledger import Ledger
from zsad.line.changes import MEMORY, AuditTrail, audit_changes, engine_event, parked_event
from zsad.line.config import LineConfig
from zsad.line.latency import Latencies
from zsad.line.monitor import Monitor
from zsad.line.recipes import read_recipes
from zsad.line.references import Secrets
from zsad.line.yaml_config import read_yaml
from zsad.recipe import TypeThreshold, read_recipe, write_recipe
from zsad.watch.parity import EngineChange


@pytest.fixture
def start(line_folder, monkeypatch):
    """Return `start(effective) -> rows`: what one start adds to the audit."""
    monkeypatch.chdir(line_folder)
    config = read_yaml(LineConfig, "line.yaml", Secrets())
    folder = line_folder / "ledger"

    def rows():
        with sqlite3.connect(folder / "ledger.sqlite") as database:
            return database.execute(
                "SELECT kind, what, before, after, reason FROM audit ORDER BY id"
            ).fetchall()

    def start(effective="one"):
        with Ledger.open(folder) as ledger:
            before = len(rows())
            audit_changes(ledger, folder, effective, read_recipes(config))
        return rows()[before:]

    return start


def test_the_first_start_writes_down_what_it_starts_with(start, line_folder):
    found = start()
    assert [(kind, what) for kind, what, *_ in found][:3] == [
        ("configuration", "configuration of line"),
        ("recipe", "recipe of drop"),
        ("recipe", "recipe of film"),
    ]
    assert [kind for kind, *_ in found][3:] == ["threshold", "threshold"]
    assert {reason for *_, reason in found} == {"first start"}
    assert {before for _, _, before, _, _ in found} == {None}
    assert (line_folder / "ledger" / MEMORY).is_file()


def test_what_has_not_changed_is_not_written_again(start):
    start()
    assert start() == []


def test_a_threshold_that_changed_is_named_with_both_values(start):
    start()
    recipe = read_recipe("part.json")
    (calibration,) = recipe.calibrations
    write_recipe("part.json", replace(recipe, calibrations=(replace(calibration, threshold=0.6),)))
    found = [row for row in start() if row[0] == "threshold"]
    assert [(before, after) for _, _, before, after, _ in found] == [
        ("graph > 0.5", "graph > 0.6")
    ] * 2
    assert all(reason == "found at the start" for *_, reason in found)


def test_a_defect_types_own_threshold_is_audited_too(start):
    recipe = read_recipe("part.json")
    (calibration,) = recipe.calibrations
    graph = calibration.graph_sha256[:12]

    def rows_with(*limits):
        types = tuple(TypeThreshold(*each) for each in limits)
        own = replace(calibration, types=types)
        write_recipe("part.json", replace(recipe, calibrations=(own,)))
        return [row[1:4] for row in start() if row[0] == "threshold" and "drop" in row[1]]

    what = f"threshold of drop: {graph}"
    assert rows_with(("dent", 0.4), ("scratch", 0.3)) == [
        (what, None, "graph > 0.5"),
        (f"{what} dent", None, "graph > 0.4"),
        (f"{what} scratch", None, "graph > 0.3"),
    ]
    assert rows_with(("dent", 0.4), ("scratch", 0.9)) == [
        (f"{what} scratch", "graph > 0.3", "graph > 0.9")
    ]
    assert rows_with(("dent", 0.4)) == [(f"{what} scratch", "graph > 0.9", None)]


def test_another_configuration_is_a_change(start):
    start()
    assert [kind for kind, *_ in start("two")] == ["configuration"]


def test_a_damaged_memory_counts_as_none(start, line_folder):
    start()
    (line_folder / "ledger" / MEMORY).write_text("{")
    assert len(start()) == 5


def test_an_event_that_the_ledger_does_not_take_is_a_fault_and_not_forgotten(
    line_folder, monkeypatch
):
    monitor = Monitor("press", {}, Latencies())
    monitor.ready()
    change = EngineChange("fp32 on cpu", "none", "out of parity")

    def refuse(self, event):
        raise LedgerError("the disk is full")

    with Ledger.open(line_folder / "ledger") as ledger:
        trail = AuditTrail(ledger, monitor)
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "audit", refuse)
            trail.leave(engine_event("press", change))
            trail.retry()
            assert monitor.status().reasons == ("the audit cannot be written: the disk is full",)
        trail.retry()
        assert monitor.status().reasons == ()
        trail.retry()
    with sqlite3.connect(line_folder / "ledger" / "ledger.sqlite") as database:
        rows = database.execute("SELECT kind, what, before, after, reason FROM audit").fetchall()
    assert rows == [("engine", "engine of press", "fp32 on cpu", "none", "out of parity")]


def test_a_parked_verdict_waits_for_the_next_round_of_the_audit(line_folder):
    with Ledger.open(line_folder / "ledger") as ledger:
        trail = AuditTrail(ledger, Monitor("press", {}, Latencies()))
        trail.leave(parked_event("plant", make_record(7), "too large"))
        assert ledger_audit(line_folder) == []
        trail.retry()
    assert ledger_audit(line_folder) == [("outbox", "verdict 7 parked by plant", "too large")]


def ledger_audit(folder):
    with sqlite3.connect(folder / "ledger" / "ledger.sqlite") as database:
        return database.execute("SELECT kind, what, reason FROM audit").fetchall()

"""docs/reliability.md says what the committed figures say."""

import json
import re
from pathlib import Path

import pytest

import reliability

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
TEXT = " ".join(PAGE.split())


def result(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("index", range(3))
def test_its_tables_are_those_of_the_json(index):
    assert reliability.tables()[index] in PAGE


def test_its_sentences_about_cameras_are_those_of_the_json():
    figures = result("camera-faults")
    faults = figures["faults"]
    slowest = max(faults, key=lambda fault: fault["recover_s"])
    assert f"{len(faults)} faults" in TEXT
    assert figures["failures"] == []
    assert all(fault["accounts_hold"] for fault in faults)
    kept = ("threads_left", "descriptors_left", "children_left")
    assert not any(fault[key] for fault in faults for key in kept)
    assert f"at most {slowest['recover_s']:.1f} s" in TEXT
    assert f"`stall_s` {figures['limits']['stall_s']:g}" in TEXT


def test_its_sentences_about_the_soak_are_those_of_the_json():
    soak = result("soak")
    assert f"{soak['minutes']:g} minutes, {soak['verdicts']:,} verdicts" in TEXT
    assert f"{soak['stop_s']:.1f} s after SIGTERM" in TEXT
    assert soak["faults"] == []


def test_its_sentences_about_isolation_are_those_of_the_json():
    isolated = result("isolation")
    before, after = isolated["load_1min"].values()
    assert f"load of {before} before and {after} after on {isolated['machine']['cores']} " in TEXT
    rows = {row["condition"]: row for row in isolated["rows"]}
    base = rows.pop("broker up")["judge_p99_ms"]
    ratios = [row["judge_p99_ms"] / base for row in rows.values()]
    assert f"{min(ratios):.2f} to {max(ratios):.2f} times" in TEXT


def test_a_power_cut_loses_what_the_ledgers_page_says():
    sentence = re.search(r"\*\*(What a power cut can lose: .+?)\*\*", PAGE, re.DOTALL)
    page = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    assert sentence is not None
    assert " ".join(sentence[1].split()) in " ".join(page.split())


def test_what_it_points_to_exists():
    for name in re.findall(r"`((?:tests|benchmarks)/[\w/.-]+)`", PAGE):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w/.-]+)\)", PAGE):
        assert (ROOT / "docs" / name).exists(), name

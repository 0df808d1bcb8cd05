"""docs/cpu.md prints what the committed figures say."""

import json
from pathlib import Path

import pytest

import identities
import peers
import session_options
import speedup_table
from identities import Saving
from session_options import Found
from speedup_table import Row

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cpu.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
SPEEDUPS = {
    "dive-vit-b": "DIVE, ViT-B/16 at 224 px",
    "faprompt-vit-b": "FAPrompt, ViT-B/16 at 224 px",
    "dive-vit-l-336": "DIVE, ViT-L/14 at 336 px",
    "faprompt-vit-l-336": "FAPrompt, ViT-L/14 at 336 px",
}
COLUMNS = {
    "ONNX Runtime, FP32": "fp32 on CPUExecutionProvider",
    "OpenVINO, FP32": "fp32 on OpenVINO CPU f32",
    "OpenVINO, bfloat16": "fp32 on OpenVINO CPU bf16",
    "ONNX Runtime, INT8": "int8 on CPUExecutionProvider",
    "OpenVINO, INT8": "int8 on OpenVINO CPU f32",
}


def load(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def speedups():
    return [Row(**row) for name in SPEEDUPS for row in load(f"speedup-{name}")["rows"]]


def test_the_ratios_to_eager_are_those_of_the_json_and_reach_their_goals():
    rows = speedups()
    assert speedup_table.table(rows) in PAGE
    assert all(row.goal is None or row.times_faster >= row.goal for row in rows)
    assert sum(row.goal is not None for row in rows) == 6 * len(SPEEDUPS)


@pytest.mark.parametrize("name", SPEEDUPS)
def test_the_readme_prints_the_same_ratios(name):
    faster = {r["contender"]: r["times_faster"] for r in load(f"speedup-{name}")["rows"]}
    figures = " | ".join(f"{faster[contender]:.2f}" for contender in COLUMNS.values())
    heads = " | ".join(["times as fast as PyTorch eager", *COLUMNS])
    assert f"| {heads} |\n" in README
    assert f"| {SPEEDUPS[name]} | {figures} |\n" in README


def test_what_the_identities_bought_is_in_the_json():
    savings = {each["identity"]: Saving(**each) for each in load("identities")["savings"]}
    assert identities.table([*savings.values()]) in PAGE
    text = savings["FAPrompt's text: behind its prefix, to its end token"]
    tower_ms = (text.naive_ms - text.ms) / text.saved_share
    assert text.ms / tower_ms == pytest.approx(1 / 5, abs=0.03) and text.naive_ms / tower_ms > 4


@pytest.mark.parametrize(("name", "busy"), [("session-options", 0), ("session-options-busy", 1)])
def test_the_session_options_are_in_the_json(name, busy):
    found = load(name)
    assert (found["busy"], found["method"], found["backbone"]) == (busy, "faprompt", "ViT-B-16")
    assert session_options.table([Found(**each) for each in found["variants"]]) in PAGE


def test_spinning_wins_where_nothing_else_runs_and_loses_beside_a_neighbour():
    still = [
        next(v for v in load(name)["variants"] if v["variant"] == "no spinning")
        for name in ("session-options", "session-options-busy")
    ]
    assert still[0]["highest"] < 1 < still[1]["lowest"]
    assert 1 / still[1]["times_faster"] == pytest.approx(0.7, abs=0.05)


def test_the_peers_are_in_the_json():
    rows = load("peers")["rows"]
    assert peers.table(rows) in PAGE
    assert not [row["title"] for row in rows if "error" in row]
    named = {row["title"]: row for row in rows}
    padim = named.pop("AnomaVision PaDiM, ONNX")
    assert padim["ms"]["p50"] < min(row["ms"]["p50"] for row in named.values())
    ours = named["**zsad DIVE**, int8, cpu"]
    assert padim["disk_bytes"] < ours["disk_bytes"] and padim["peak_bytes"] > ours["peak_bytes"]

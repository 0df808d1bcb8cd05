"""docs/gpu.md: every figure is in a JSON that ran on a GPU."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gpu.md").read_text("utf-8")
MODELS = {"vit-b": "ViT-B/16", "vit-l-336": "ViT-L/14 at 336 px"}


def load(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def latency_rows(model):
    for each in load(f"latency-dive-{model}-h100")["latencies"]:
        stages = each["stages_ms"]
        yield (
            f"| {each['name']} | {stages['infer']:.1f} | {stages['preprocess']:.1f} "
            f"| {each['total_ms']['p50']:.1f} | {each['total_ms']['p99']:.1f} |"
        )


def parity_rows(model):
    for each in load(f"parity-dive-{model}-h100")["rows"]:
        found = each["parity"]
        yield (
            f"| {MODELS[model]} | {each['name']} | {found['score_max_abs']:.1e} "
            f"| {found['map_max_abs']:.1e} | {found['map_correlation']:.5f} |"
        )


@pytest.mark.parametrize("model", MODELS)
def test_the_page_prints_the_latencies(model):
    part = PAGE.partition(f"### {MODELS[model]}")[2].partition("#")[0]
    rows = [line for line in part.splitlines() if line.endswith(" |") and "p99" not in line]
    assert rows == list(latency_rows(model))


def test_the_page_prints_the_parity_and_all_of_it_is_within_limits():
    printed = [line for line in PAGE.splitlines() if line.startswith("| ViT-")]
    assert printed == [row for model in MODELS for row in parity_rows(model)]
    assert all(
        row["is_within_limits"] for m in MODELS for row in load(f"parity-dive-{m}-h100")["rows"]
    )


def test_the_page_prints_the_rates():
    for each in load("latency-dive-vit-b-h100")["throughput"]:
        if each["batch"] == 8:
            assert f"{each['frames_per_s']:.0f} frames/s" in PAGE


@pytest.mark.parametrize("library", ["pycuda", "cuda-python"])
def test_both_ways_to_the_memory_were_taken(library):
    (found,) = [f for f in load("gpu-check-h100-rtx")["findings"] if f["name"] == library]
    assert found["status"] == "ok"


def test_what_the_page_says_is_missing_was_missing():
    found = {f["name"]: f for f in load("gpu-check-h100-rtx")["findings"]}
    assert found["tensorrt"]["status"] == "missing"
    assert "cannot compile for SM 90" in found["build fp32 tensorrt_rtx"]["detail"]

"""The published figures: every one is in a committed JSON, whose evidence lies beside it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import accuracy_methods
import feature_cache
import protocol
from accuracy_runs import Outcome
from accuracy_table import percent
from method_costs import Cost, table
from zsad.evaluate import read_evaluation
from zsad.evaluate.evidence import read_evidence
from zsad.metrics import auroc
from zsad_train.methods import METHODS, UNTRAINED

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def cell(figure):
    low, high = 100 * figure.low, 100 * figure.high
    return f"{100 * figure.value:.1f} [{low:.1f}, {high:.1f}]"


@pytest.mark.parametrize("name", ["elpv-dive-tiny", "unseen-dive-tiny"])
def test_the_readme_prints_what_the_json_says(name):
    found = read_evaluation(RESULTS / f"{name}.json")
    readme = (ROOT / "README.md").read_text("utf-8")
    counts = f"({found.mean.n_good} + {found.mean.n_defective})"
    (row,) = [line for line in readme.splitlines() if counts in line]
    shown = [k for k in ("image_auroc", "pixel_auroc") if found.mean.figures.get(k) is not None]
    for key in shown:
        assert cell(found.mean.figures[key]) in row
        assert f"{100 * found.floor.figures[key].value:.1f}" in row


@pytest.mark.parametrize("name", ["elpv-dive-tiny", "unseen-dive-tiny"])
def test_image_figures_follow_from_the_scores_beside_the_json(name):
    path = RESULTS / f"{name}.json"
    found = read_evaluation(path)
    images = read_evidence(path, found).images
    values = []
    for row in found.classes:
        mine = [image for image in images if image.class_name == row.name]
        scores = np.array([image.score for image in mine])
        labels = np.array([image.label for image in mine], bool)
        values.append(auroc(scores, labels))
    assert np.mean(values) == pytest.approx(found.mean.figures["image_auroc"].value, abs=1e-12)


def test_the_readme_prints_means_and_spreads_over_the_seeds():
    outcomes = json.loads((RESULTS / "accuracy-dive-tiny.json").read_text("utf-8"))["outcomes"]
    readme = (ROOT / "README.md").read_text("utf-8").partition("three seeds of the prompts")[2]
    named = {}
    for each in outcomes:
        named.setdefault(each["data"].partition(":")[0], []).append(each)
    for data, runs in named.items():
        counts = f"({runs[0]['n_good']} + {runs[0]['n_defective']})"
        rows = [line for line in readme.splitlines() if line.endswith("|") and counts in line]
        (row,) = rows if len(rows) == 1 else [r for r in rows if data.partition("-")[2] in r]
        for key in ("image_auroc", "pixel_auroc"):
            seeds = {}
            for run in runs:
                if key in run["figures"]:
                    seeds.setdefault(run["seed"], []).append(run["figures"][key])
            if seeds:
                assert percent([np.mean(values) for values in seeds.values()]) in row
                floor = 100 * np.mean([run["floor"][key] for run in runs])
                assert f"{floor:.1f}" in row


@pytest.mark.parametrize(
    ("data", "method", "start"),
    [
        ("textile-local", "dive", "| simulated textile, local flaws | DIVE's, three seeds | "),
        ("textile-local", "clip", "| simulated textile, local flaws | `clip`, none learned | "),
        ("textile-global", "clip", "| simulated textile, global flaws | `clip` | "),
        ("synthetic", "clip", "| generated, unseen classes | `clip` | "),
        ("elpv", "clip", "| ELPV, all sure cells | `clip` | "),
    ],
)
def test_the_readme_prints_what_the_variant_reached_apart(data, method, start):
    def reached(backbone):
        record = json.loads((RESULTS / f"accuracy-{method}-{backbone}.json").read_text("utf-8"))
        assert record["job"]["backbone"] == backbone
        runs = [run for run in record["outcomes"] if run["data"] == data]
        floor = f"{100 * runs[0]['floor']['image_auroc']:.1f}"
        return percent([run["figures"]["image_auroc"] for run in runs]), floor

    (ours, floor), (plain, same_floor) = reached("tiny-grain"), reached("tiny")
    assert floor == same_floor
    row = f"{start}{ours} | {plain} | {floor} |"
    assert row in (ROOT / "README.md").read_text("utf-8").splitlines()


def test_the_methods_page_prints_the_costs_that_were_counted():
    record = json.loads((RESULTS / "method-costs.json").read_text("utf-8"))
    costs = [Cost(**each) for each in record["costs"]]
    assert {cost.method for cost in costs} == METHODS.keys() | UNTRAINED.keys()
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert table(costs) in page and f"`{record['backbone']}`" in page


def test_the_methods_page_prints_how_fast_the_feature_cache_was():
    record = json.loads((RESULTS / "feature-cache-tiny.json").read_text("utf-8"))
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert feature_cache.table(record["rows"]) in page
    assert all(row["times_faster"] >= 5 for row in record["rows"])


def test_the_parity_page_prints_what_the_fp16_tools_made():
    outcomes = json.loads((RESULTS / "fp16-tools.json").read_text("utf-8"))["outcomes"]
    page = (ROOT / "docs" / "parity.md").read_text("utf-8")
    made = [each for each in outcomes if each["fault"] is None]
    assert len(made) == 3 and len(outcomes) == 4
    for each in made:
        errors = f"{each['score_max_abs']:.1e} | {each['map_max_abs']:.1e}"
        assert f"| {errors} | {each['compiled']} |" in page


def test_the_readme_prints_what_limited_priors_cost():
    record = json.loads((RESULTS / "protocol-dive-tiny.json").read_text("utf-8"))
    trial = [field.name for field in dataclasses.fields(protocol.Trial)]
    reached = [field.name for field in dataclasses.fields(Outcome)]
    results = [
        (
            protocol.Trial(**{name: each[name] for name in trial}),
            Outcome(**{name: each[name] for name in reached}),
        )
        for each in record["trials"]
    ]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert protocol.table(results) in readme
    assert "cannot be told apart (+4.0 points, standard error 2.4" in protocol.answer(results)
    pixels = protocol._lost(results, "anomalyclip", "pixel_auroc")
    assert min(pixels) > max(protocol._lost(results, "dive", "pixel_auroc"))


def test_the_methods_page_prints_what_every_method_reached():
    runs = [accuracy_methods.read(file) for file in sorted(RESULTS.glob("accuracy-*-tiny.json"))]
    assert {method for method, _ in runs} == METHODS.keys() | UNTRAINED.keys()
    assert accuracy_methods.table(runs) in (ROOT / "docs" / "methods.md").read_text("utf-8")


def test_the_quantizers_in_the_docs_are_those_of_the_json():
    found = json.loads((RESULTS / "int8-dive-tiny.json").read_text())["rows"]
    docs = (ROOT / "docs" / "int8.md").read_text("utf-8")
    for row in found[1:]:
        (line,) = (text for text in docs.splitlines() if text.startswith(f"| {row['name']} |"))
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if row["map_mean_abs"] is None:
            assert cells[1] == "does not run on ONNX Runtime" and row["reason"]
            continue
        assert cells[1:] == [
            f"{row['megabytes']:.1f}",
            f"{row['int8_products']} of {row['products']}",
            *(f"{row[key]:.1e}" for key in ("map_mean_abs", "map_max_abs", "score_max_abs")),
            f"{row['auroc_delta']:+.2f}",
            "accepted" if row["tensorrt_rtx"] == "accepted" else "refused",
        ]


@pytest.mark.parametrize("name", ["generated", "own"])
def test_what_calibration_frames_cost_is_that_of_the_json(name):
    record = json.loads((RESULTS / f"int8-elpv-{name}.json").read_text())
    (row,) = (row for row in record["rows"] if row["name"] == "zsad")
    docs = (ROOT / "docs" / "int8.md").read_text("utf-8")
    assert record["images"] == 64 and f"up to {row['score_max_abs']:.3f}" in docs


def test_the_readme_prints_how_long_a_frame_takes():
    record = json.loads((RESULTS / "latency-dive-tiny.json").read_text("utf-8"))
    readme = (ROOT / "README.md").read_text("utf-8")
    titles = (
        "ONNX Runtime, FP32 graph",
        "ONNX Runtime, FP16 graph (emulated on a CPU)",
        "PyTorch eager, as the paper runs it",
        "PyTorch eager, text encoded once",
    )
    eager = record["latencies"][2]["total_ms"]["p50"]
    for title, row in zip(titles, record["latencies"], strict=True):
        ms = row["total_ms"]
        faster = f"{eager / ms['p50']:.2f} times as fast" if ms["p50"] != eager else "1"
        assert f"| {title} | {ms['p50']:.1f} | {ms['p95']:.1f} | {faster} |" in readme


def test_the_readme_prints_how_far_the_graphs_are_from_pytorch():
    record = json.loads((RESULTS / "parity-dive-tiny.json").read_text("utf-8"))
    readme = (ROOT / "README.md").read_text("utf-8")
    for row in record["rows"]:
        off = row["parity"]
        shown = f"score {off['score_max_abs']:.1e} and map {off['map_max_abs']:.1e}"
        assert f"{row['precision'].upper()} {shown}" in readme
    demo = json.loads((RESULTS / "elpv-dive-tiny.json").read_text("utf-8"))
    assert record["subject"]["artifact_sha256"] == demo["subject"]["artifact_sha256"]


@pytest.mark.parametrize(
    ("heads", "title"), [("mean", "heads averaged first"), ("each", "entropy per head")]
)
def test_the_methods_page_prints_which_entropy_is_abnormal(heads, title):
    rows = json.loads((RESULTS / "entropy-tiny.json").read_text("utf-8"))["rows"]
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    figures = [
        f"{100 * row['within_images']:.1f} ± {100 * row['standard_error']:.1f}"
        for row in rows
        if row["heads"] == heads
    ]
    assert f"| {title} | {' | '.join(figures)} |" in page.replace("**", "")


def test_the_evaluation_page_prints_the_memory_that_was_measured():
    memory = json.loads((RESULTS / "metrics.json").read_text("utf-8"))["memory"]
    page = (ROOT / "docs" / "evaluate.md").read_text("utf-8")
    assert f"{memory['maps']} random maps of {memory['side_px']}x{memory['side_px']}" in page
    assert f"{memory['evaluation_peak_gb']:.1f} GB at the peak" in page

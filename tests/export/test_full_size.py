"""The backbone of the papers, from training step to compiled engine, within a workstation's means.

Random weights: shapes, memory and time, nothing about accuracy.
"""

import json
import os
import subprocess
import sys
import time

import pytest

from zsad.artifact import Artifact

BACKBONE = "ViT-L-14-336-quickgelu"
MAX_BYTES = 12e9
MAX_SECONDS = 600
MAX_INT8_SECONDS = 3600

RUN = """
import json, resource, sys
from importlib import import_module
module, *arguments = sys.argv[1:]
import_module(module).main(arguments, standalone_mode=False)
peak = max(resource.getrusage(who).ru_maxrss for who in (0, -1)) * 1024
print(json.dumps({"peak_bytes": peak}))
"""


def run_command(module, *arguments, cache):
    """Run a command in a process of its own; return what it printed, its peak memory and time."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "ZSAD_CACHE": str(cache),
    }
    command = [sys.executable, "-c", RUN, module, *map(str, arguments)]
    begin = time.monotonic()
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - begin
    assert result.returncode == 0, result.stderr[-3000:]
    *lines, measured = result.stdout.splitlines()
    return lines, json.loads(measured)["peak_bytes"], seconds


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit-l")
    arguments = f"--method dive --preset dive-paper --backbone {BACKBONE} --pretrained random"
    arguments += " --data synthetic --val none --limit 2 --batch-size 2 --epochs 1"
    run_command(
        "zsad_train.cli",
        *arguments.split(),
        "--grad-checkpointing",
        "--out",
        folder / "dive.pt",
        cache=folder,
    )
    return folder / "dive.pt"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("size", [336, 518])
def test_vit_l_exports_and_compiles_within_its_budget(trained, size, tmp_path, record_property):
    out = tmp_path / "dive"
    lines, peak, seconds = run_command(
        "zsad_export.cli.export",
        *("--ckpt", trained, "--out", out, "--fp16"),
        *("--image-size", size, "--sm", "86,89,120"),
        cache=tmp_path,
    )
    print(*lines, f"{size} px: {peak / 1e9:.1f} GB, {seconds:.0f} s", sep="\n")
    record_property("peak_bytes", peak)
    record_property("seconds", seconds)
    parity = Artifact.open(out).manifest.parity
    assert parity["fp32"].map_max_abs <= 1e-4
    assert parity["fp16"].score_max_abs <= 5e-3
    assert sum("built by tensorrt_rtx" in line for line in lines) == 2
    assert peak < MAX_BYTES
    assert seconds < MAX_SECONDS


@pytest.mark.slow
@pytest.mark.timeout(2 * MAX_INT8_SECONDS)
def test_vit_l_in_int8_within_an_hour(trained, tmp_path, record_property):
    out = tmp_path / "dive"
    lines, peak, seconds = run_command(
        "zsad_export.cli.export",
        *("--ckpt", trained, "--out", out, "--fp16", "--int8", "--sensitivity"),
        *("--calib-frames", 32, "--image-size", 336, "--sm", "86"),
        cache=tmp_path,
    )
    print(*lines, f"{peak / 1e9:.1f} GB, {seconds:.0f} s", sep="\n")
    record_property("peak_bytes", peak)
    record_property("seconds", seconds)
    assert {"int8", "int8_fp16"} < set(Artifact.open(out).manifest.graphs)
    assert sum("built by tensorrt_rtx" in line for line in lines) == 4
    assert peak < MAX_BYTES
    assert seconds < MAX_INT8_SECONDS

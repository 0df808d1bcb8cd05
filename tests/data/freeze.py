"""Writes the frozen files of one schema: `python tests/data/freeze.py tests/data/schema1`.

A path that ends in `.json` gets a recipe alone, for the artifact that is frozen as `schema1`. Every
schema once published stays readable, so what is frozen is never written again: after a change of
schema, run this into something new and add it to `tests/runtime/test_frozen.py`.
"""

import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "runtime")]

from conftest import write_artifact  # noqa: E402
from zsad.artifact import MANIFEST, Artifact, seal  # noqa: E402
from zsad.inspection.config import DebounceConfig, Inspection, Roi, Tiles  # noqa: E402
from zsad.manifest import read_manifest  # noqa: E402
from zsad.parity_record import ParityRecord  # noqa: E402
from zsad.recipe import (  # noqa: E402
    SCHEMA,
    Bound,
    Calibration,
    CurvePoint,
    Recipe,
    write_recipe,
)
from zsad.results import ResultRow, ResultWriter  # noqa: E402

TILES = Tiles(8, 12, 4)
LEFT = Roi((((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)),))


def whole_recipe(artifact):
    """A recipe with everything that the schema has, for frames of 12 x 20 pixels."""
    inspection = Inspection(LEFT, TILES, (12, 20))
    calibrations = tuple(
        Calibration(
            artifact.graph(p).sha256,
            kind,
            0.25,
            Bound(0.05, 0.95, 59),
            (0.1, 0.2),
            good_map_level=0.2,
            inspection_sha256=inspection.sha256,
            curve=(CurvePoint(0.2, 0.33, 0.8),),
        )
        for p, kind in (("fp32", "map_max"), ("fp16", "map_top1pct"))
    )
    return Recipe(
        SCHEMA,
        artifact.manifest.preprocess.sha256,
        calibrations,
        roi=LEFT,
        tiles=TILES,
        frame_hw=(12, 20),
        debounce=DebounceConfig(0.1, 2, 3),
    )


def freeze(folder):
    if folder.exists():
        sys.exit(f"{folder} exists: a frozen schema is never written again")
    path = write_artifact(folder / "artifact", precisions=("fp32", "fp16"), default="fp16")
    parity = ParityRecord(8, "onnxruntime 1.32.0", 1e-7, 2e-7, 3e-8, 0.9999, None, "run on CPU")
    half = replace(parity, map_correlation=None, largest_magnitude=812.5)
    manifest = replace(
        read_manifest(path / MANIFEST),
        words=replace(read_manifest(path / MANIFEST).words, types=("scratch", "hole")),
        parity={"fp32": parity, "fp16": half},
        made_by={"zsad": "0.1.0", "torch": "2.14.1"},
    )
    seal(path, manifest)
    artifact = Artifact.open(path)
    write_recipe(folder / "recipe.json", whole_recipe(artifact))
    row = ResultRow(0, "rtsp://***@cam/1", "a.png", 0.2, 0.25, "OK", artifact.sha256, "g")
    with ResultWriter(folder / "results.jsonl") as writer:
        writer.write(replace(row, types={"scratch": 0.1}, latency_ms={"infer": 1.5}, map="a.jpg"))
        writer.write(replace(row, seq=1, score=None, verdict="NO_RESULT", reason="no image"))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if target.suffix == ".json":
        if target.exists():
            sys.exit(f"{target} exists: a frozen schema is never written again")
        write_recipe(target, whole_recipe(Artifact.open(ROOT / "tests/data/schema1/artifact")))
    else:
        freeze(target)

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from int8_measure import HeldOut, Row, measure, run, table, time_rows
from int8_peers import Made, _write_peer


@pytest.fixture
def paths(make_artifact):
    gains = {"exact": 1.0, "other": 0.9}
    return {n: make_artifact(n, gain=g) / "model.fp32.onnx" for n, g in gains.items()}


@pytest.fixture
def held_out(paths):
    images = tuple(np.full((8, 12, 3), level, np.uint8) for level in (0, 51, 102, 255))
    scores, maps = run(paths["exact"], images, {})
    return HeldOut(images, np.array([False, False, True, True]), {}, scores, maps)


def test_parity_is_that_of_hand(paths, held_out):
    row = measure(Made("other", paths["other"]), held_out)
    assert row.map_max_abs == pytest.approx(0.1, abs=1e-6)
    assert row.map_mean_abs == pytest.approx(0.1 * (0 + 0.2 + 0.4 + 1) / 4, abs=1e-6)
    assert row.score_max_abs == pytest.approx(0.1, abs=1e-6)
    assert (row.auroc_delta, row.int8_products, row.products) == (0.0, 0, 0)


def test_the_graph_itself_is_off_by_nothing(paths, held_out):
    row = measure(Made("exact", paths["exact"]), held_out)
    assert (row.map_max_abs, row.score_max_abs) == (0.0, 0.0)


def test_a_graph_that_does_not_run_says_why(tmp_path, held_out):
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("NoSuchOperator", ["image"], ["score"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N"]) for n in ("image", "score")]
    graph = helper.make_graph([node], "broken", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "broken.onnx")
    row = measure(Made("broken", tmp_path / "broken.onnx"), held_out)
    assert row.map_mean_abs is None and "NoSuchOperator" in row.reason


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (None, "no --nncf-python given"),
        (Path("/nowhere/python"), "No such file"),
        (Path(sys.executable), "No module named 'nncf'"),
    ],
)
def test_a_tool_that_cannot_be_had_says_so_in_its_row(python, reason, tmp_path):
    np.savez(tmp_path / "frames.npz", image=np.zeros((1, 8, 12, 3), np.uint8))
    source, archive = tmp_path / "a.onnx", tmp_path / "frames.npz"
    made = _write_peer("nncf", "transformer", python, source, archive, tmp_path)
    assert made.path is None and reason in made.reason
    assert f"| nncf transformer | {made.reason} |" in table([Row(made.name, reason=made.reason)])


def test_speeds_are_ratios_to_the_float_graph(paths, held_out):
    rows = [measure(Made("float32", paths["exact"]), held_out), Row("gone", reason="not there")]
    timed = time_rows(rows, held_out, runs=2)
    assert timed[0].ort_speedup == timed[0].openvino_speedup == 1.0
    assert timed[1].ort_speedup is None
    assert json.loads(json.dumps(timed[0].record()))["name"] == "float32"
    assert "1.00x | 1.00x |" in table(timed)

import dataclasses

import numpy as np
import onnx
import pytest

from zsad.errors import InputError
from zsad_calibration.int8.linears import find_linears
from zsad_calibration.int8.planning import Settings, plan_int8
from zsad_calibration.int8.record import make_record, read_record
from zsad_calibration.int8.sensitivity import Sensitivity, keep_worst, sweep

FC = "vision.blocks.0.mlp.c_fc"


@pytest.fixture
def linears(model):
    return find_linears(model.graph)


@pytest.fixture
def schemes(path, images):
    return plan_int8(path, images, settings=Settings("minmax", ()))


def test_the_linear_with_a_scale_off_by_10_is_the_worst(path, linears, schemes, images):
    index = [scheme.layer for scheme in schemes].index(FC)
    ranges = tuple(value / 10 for value in schemes[index].ranges)
    faulty = [*schemes]
    faulty[index] = dataclasses.replace(schemes[index], ranges=ranges)
    honest, ranked = (sweep(path, linears, s, images) for s in (schemes, faulty))
    assert ranked[0].unit == FC
    before = next(one for one in honest if one.unit == FC)
    assert ranked[0].error > 5 * before.error
    assert [one.error for one in ranked] == sorted((o.error for o in ranked), reverse=True)


def test_blocks_are_swept_as_wholes(path, linears, schemes, images):
    ranked = sweep(path, linears, schemes, images, unit="block")
    sizes = {one.unit: (len(one.layers), one.size) for one in ranked}
    assert sizes == {"vision.blocks.0": (4, 576), "vision.blocks.1": (1, 40)}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_large_models_are_swept_by_blocks(path, linears, schemes, images, monkeypatch):
    monkeypatch.setattr("zsad_calibration.int8.sensitivity.LARGE", 100)
    assert len(sweep(path, linears, schemes, images)) == 2


def ranking(count):
    return [Sensitivity(f"l{i}", (f"l{i}",), 1, 1.0 - i / count, 0.0, 0.0) for i in range(count)]


@pytest.mark.parametrize("needed", range(9))
def test_the_fewest_worst_layers_are_kept(needed):
    worst = {f"l{i}" for i in range(needed)}
    asked = []

    def holds(kept):
        asked.append(kept)
        return worst <= kept

    assert keep_worst(ranking(8), holds) == worst
    assert len(asked) <= 5


def test_where_even_float_is_over_there_is_no_answer():
    assert keep_worst(ranking(3), lambda kept: False) is None


def test_a_record_can_be_read_back_and_says_what_stayed_in_float(
    linears, schemes, tmp_path, path, images
):
    from zsad.schema import write_json

    ranked = sweep(path, linears, schemes, images, unit="block")
    record = make_record(linears, schemes, frozenset({FC}), "generated frames", 6, ranked)
    write_json(tmp_path / "int8.json", record)
    assert read_record(tmp_path / "int8.json") == record
    line = record.describe()
    assert "4 of 5 linears in INT8 (69% of their weights)" in line
    assert line.endswith(f"calibrated on 6 generated frames; in floating point: {FC}")
    assert len(record.table()) == 3 and ranked[0].unit in record.table()[1]


def test_a_graph_without_blocks_is_refused(model, tmp_path):
    for node in model.graph.node:
        node.name = node.name.replace("blocks", "stages")
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="no linear in a transformer block"):
        plan_int8(tmp_path / "other.onnx", [np.zeros((4, 6, 3), np.uint8)])

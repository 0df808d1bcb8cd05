"""Whatever happened to an artifact's files, it judges or is refused in one line."""

import json
import os
import random
import shutil

import numpy as np
import onnx
import pytest
from fuzzing import damaged_bytes, survives
from onnx import TensorProto

from zsad.artifact import MANIFEST, Artifact, hash_files
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.watch.golden import GoldenReplay

GREY = np.full((8, 12, 3), 51, np.uint8)


@pytest.fixture
def whole(make_artifact, reseal):
    """An artifact with a golden frame."""
    from zsad_export.golden import write_golden

    path = make_artifact("whole")
    frame = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    outputs = GoldenOutputs(np.float32([0.5]), np.full((1, 8, 12), 0.5, np.float32))
    write_golden(path, [GoldenFrame("only", frame)], outputs)
    reseal(path)
    return path


def judge(path):
    with Detector.load(path, backend="cpu", threads=1) as detector:
        detector.predict(GREY)
        GoldenReplay(detector.artifact).check(detector).describe()


def test_the_artifact_itself_judges(whole):
    judge(whole)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden/reference.npz", "golden/only.png"])
def test_damaged_files_are_refused_though_their_hashes_are_right(whole, reseal, tmp_path, name):
    for seed in range(80):
        copy = tmp_path / "copy"
        shutil.copytree(whole, copy)
        content = damaged_bytes((whole / name).read_bytes(), random.Random(f"{name} {seed}"))
        (copy / name).write_bytes(content)
        reseal(copy)
        survives(lambda _, folder=copy: judge(folder), content, f"{name} {seed}")
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden/reference.npz", "golden/only.png"])
def test_one_changed_byte_is_a_wrong_hash(whole, name):
    content = bytearray((whole / name).read_bytes())
    content[len(content) // 2] ^= 1
    (whole / name).write_bytes(content)
    with pytest.raises(InputError, match=f"'{name}' has a wrong hash"):
        Artifact.open(whole)


def _opset(model, version):
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", version)])


GRAPHS = {
    "a future opset": lambda model: _opset(model, 999),
    "no opset": lambda model: model.ClearField("opset_import"),
    "a future format": lambda model: setattr(model, "ir_version", 99),
    "an unknown operator": lambda model: setattr(model.graph.node[1], "op_type", "Divine"),
    "an unknown domain": lambda model: setattr(model.graph.node[1], "domain", "com.example"),
    "no nodes": lambda model: model.graph.ClearField("node"),
    "no output": lambda model: model.graph.ClearField("output"),
    "no input": lambda model: model.graph.ClearField("input"),
    "another input": lambda model: setattr(model.graph.input[0], "name", "picture"),
    "a float input": lambda model: setattr(
        model.graph.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT
    ),
    "weights in a file outside": lambda model: _external(model, "../../outside.bin"),
    "weights in a file that is missing": lambda model: _external(model, "gone.bin"),
}


def _external(model, location):
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        weight.external_data.add(key=key, value=value)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_cannot_run_here_is_one_line(whole, reseal, name):
    path = whole / "model.fp32.onnx"
    model = onnx.load(path)
    GRAPHS[name](model)
    path.write_bytes(model.SerializeToString())
    reseal(whole)
    assert not survives(lambda _: judge(whole), b"", name)


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside", "a/../../outside", "a\\..\\b"])
def test_a_file_outside_is_refused(whole, name):
    (whole.parent / "outside").write_bytes(b"secret")
    data = json.loads((whole / MANIFEST).read_text())
    data["files"][name] = "0" * 64
    (whole / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(InputError, match="leaves the directory"):
        Artifact.open(whole)


def test_a_link_to_a_file_outside_is_refused(whole, reseal):
    outside = whole.parent / "outside.png"
    shutil.copyfile(whole / "golden/only.png", outside)
    (whole / "golden/only.png").unlink()
    os.symlink(outside, whole / "golden/only.png")
    reseal(whole)
    assert "golden/only.png" in hash_files(whole)
    with pytest.raises(InputError, match="a link that leaves the directory"):
        Artifact.open(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.float32([0.5, 0.5])}, "cannot be read"),
        ({"anomaly_maps": np.zeros((1, 3, 3), np.float32)}, "do not fit"),
        ({"scores": np.float32([np.nan])}, "do not fit"),
        ({"scores": np.float64([0.5])}, "do not fit"),
        ({"type_scores": np.float32([[0.5]])}, "do not fit"),
        ({"names": np.array(["../../outside"])}, "lists no file"),
        ({"names": np.array([], dtype="U1")}, "cannot be read"),
        ({"names": np.array([{}], dtype=object)}, "cannot be read"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(whole, reseal, change, message):
    path = whole / "golden/reference.npz"
    with np.load(path) as stored:
        arrays = {**stored, **change}
    np.savez(path, **arrays)
    reseal(whole)
    with pytest.raises(InputError, match=message):
        GoldenReplay(Artifact.open(whole))

"""What is written is read by protobuf itself, against Triton's own schema."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fake_driver import FakeDriver
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.errors import InputError
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.text_table import read_table
from zsad_export import triton
from zsad_export.cli.triton import main
from zsad_export.golden import write_golden
from zsad_export.triton import write_triton_model
from zsad_export.triton_config import TritonOptions

SCHEMA = Path(__file__).parents[1] / "data/triton/model_config.binpb"


@pytest.fixture(scope="session")
def model_config():
    """Triton's `ModelConfig` message."""
    described = descriptor_pb2.FileDescriptorProto.FromString(SCHEMA.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    name = f"{described.package}.ModelConfig"
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


@pytest.fixture
def parse(model_config):
    """Return `parse(folder)`: the configuration in a model's folder."""
    return lambda folder: text_format.Parse((folder / "config.pbtxt").read_text(), model_config())


@pytest.fixture
def with_golden(reseal):
    """Return `add(path, constants)`: gives an artifact one golden frame, grey 51, score 0.2."""

    def add(path, constants=None):
        frame = GoldenFrame("frame-9x7", np.full((9, 7, 3), 51, np.uint8))
        outputs = GoldenOutputs(np.float32([0.2]), np.full((1, 8, 12), 0.2, np.float32))
        write_golden(path, [frame], outputs, constants)
        reseal(path)
        return Artifact.open(path)

    return add


def enum(message, field):
    kinds = message.DESCRIPTOR.fields_by_name[field].enum_type
    return kinds.values_by_number[getattr(message, field)].name


def tensors(described):
    return {
        each.name: (enum(each, "data_type"), list(each.dims), each.HasField("reshape"))
        for each in described
    }


def test_a_graph_becomes_a_model_that_joins_frames(make_artifact, tmp_path, parse):
    artifact = Artifact.open(make_artifact("line"))
    options = TritonOptions(max_batch=6, queue_delay_us=500, instances=2, kind="gpu")
    folder = write_triton_model(artifact, tmp_path / "models", options=options)
    config = parse(folder)
    assert folder.name == config.name == "line_fp32"
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size == 6
    assert tensors(config.input) == {"image": ("TYPE_UINT8", [8, 12, 3], False)}
    # A score has no dimension beside the batch, and Triton wants one.
    assert tensors(config.output) == {
        "score": ("TYPE_FP32", [1], True),
        "anomaly_map": ("TYPE_FP32", [8, 12], False),
        "score_logit": ("TYPE_FP32", [1], True),
    }
    assert list(config.output[0].reshape.shape) == []
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4, 6]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    (group,) = config.instance_group
    assert (group.count, enum(group, "kind")) == (2, "KIND_GPU")
    assert not config.HasField("optimization"), "TensorRT would compute an FP32 graph in TF32"
    served = folder / "1" / "model.onnx"
    assert served.read_bytes() == (artifact.path / "model.fp32.onnx").read_bytes()


def test_the_first_frame_is_the_resized_golden_one_and_gives_its_score(
    make_artifact, tmp_path, parse, with_golden
):
    artifact = with_golden(make_artifact())
    folder = write_triton_model(artifact, tmp_path / "models")
    (warm_up,) = parse(folder).model_warmup
    image = warm_up.inputs["image"]
    assert (warm_up.batch_size, list(image.dims)) == (1, [8, 12, 3])
    content = (folder / "warmup" / image.input_data_file).read_bytes()
    frame = np.frombuffer(content, np.uint8).reshape(1, *image.dims)
    with open_backend(artifact) as backend:
        score = backend.infer({"image": frame})["score"]
    contract = json.loads((folder / "preprocess.json").read_text())
    assert contract["first_frame_score"] == pytest.approx(0.2)
    assert score == pytest.approx([0.2])
    assert contract["preprocess"]["resize"] == "pillow-bicubic"
    assert contract["artifact_sha256"] == artifact.sha256


def test_without_golden_frames_the_first_frame_is_black(make_artifact, tmp_path, parse):
    folder = write_triton_model(Artifact.open(make_artifact()), tmp_path / "models")
    assert parse(folder).model_warmup[0].inputs["image"].zero_data
    assert not (folder / "warmup").exists()


def test_an_fp16_graph_runs_under_tensorrt_within_one_profile(make_artifact, tmp_path, parse):
    artifact = Artifact.open(make_artifact(precisions=("fp32", "fp16")))
    folder = write_triton_model(artifact, tmp_path / "models", "fp16", TritonOptions(max_batch=4))
    (chosen,) = parse(folder).optimization.execution_accelerators.gpu_execution_accelerator
    assert chosen.name == "tensorrt"
    assert chosen.parameters["precision_mode"] == "FP16"
    assert chosen.parameters["trt_profile_min_shapes"] == "image:1x8x12x3"
    assert chosen.parameters["trt_profile_max_shapes"] == "image:4x8x12x3"
    assert chosen.parameters["trt_engine_cache_path"] == "/tmp/zsad-triton/artifact_fp16"
    on_cpu = write_triton_model(
        artifact, tmp_path / "models", "fp16", TritonOptions("cpu", kind="cpu")
    )
    assert not parse(on_cpu).HasField("optimization")


def test_text_that_is_an_input_has_no_batch_so_frames_are_not_joined(
    make_typed_artifact, tmp_path, parse, with_golden
):
    path = make_typed_artifact()
    table = read_table(Artifact.open(path))
    artifact = with_golden(path, {"text_table": table})
    folder = write_triton_model(artifact, tmp_path / "models")
    config = parse(folder)
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert tensors(config.input) == {
        "image": ("TYPE_UINT8", [-1, 8, 12, 3], False),
        "text_table": ("TYPE_FP32", [-1, 2], False),
    }
    assert tensors(config.output)["type_map"] == ("TYPE_FP32", [-1, -1, 8, 12], False)
    assert tensors(config.output)["score"] == ("TYPE_FP32", [-1], False)
    warm = config.model_warmup[0].inputs["text_table"]
    assert list(warm.dims) == [3, 2]
    content = (folder / "warmup" / warm.input_data_file).read_bytes()
    np.testing.assert_array_equal(np.frombuffer(content, np.float32).reshape(3, 2), table)
    np.testing.assert_array_equal(np.load(folder / "text_table.npy"), table)
    assert "text_table.npy" in (folder / "README.md").read_text()


def test_an_engine_takes_the_place_of_the_graph(make_artifact, tmp_path, parse):
    engine = tmp_path / "built.engine"
    engine.write_bytes(b"plan")
    artifact = Artifact.open(make_artifact(precisions=("fp32", "fp16"), default="fp16"))
    folder = write_triton_model(artifact, tmp_path / "models", engine=engine)
    config = parse(folder)
    assert config.platform == "tensorrt_plan"
    assert not config.HasField("optimization")
    assert (folder / "1" / "model.plan").read_bytes() == b"plan"
    assert [path.name for path in (folder / "1").iterdir()] == ["model.plan"]


def test_weights_in_a_file_of_their_own_make_a_folder(make_artifact, tmp_path):
    path = make_artifact()
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "weights.bin").write_bytes(b"weights")
    manifest["graphs"]["fp32"]["data"] = "weights.bin"
    from zsad.schema import sha256_file

    manifest["files"]["weights.bin"] = sha256_file(path / "weights.bin")
    (path / "manifest.json").write_text(json.dumps(manifest))
    folder = write_triton_model(Artifact.open(path), tmp_path / "models")
    names = sorted(each.name for each in (folder / "1" / "model.onnx").iterdir())
    assert names == ["model.onnx", "weights.bin"]


def test_a_model_is_replaced_whole_and_its_neighbours_stay(make_artifact, tmp_path):
    models = tmp_path / "models"
    artifact = Artifact.open(make_artifact())
    first = write_triton_model(artifact, models)
    (first / "stale").write_text("")
    neighbour = write_triton_model(artifact, models, options=TritonOptions("other"))
    assert write_triton_model(artifact, models) == first
    assert not (first / "stale").exists()
    assert neighbour.is_dir()
    assert sorted(path.name for path in models.iterdir()) == ["artifact_fp32", "other"]


def test_a_failure_leaves_the_earlier_model_and_nothing_else(make_artifact, tmp_path, monkeypatch):
    models = tmp_path / "models"
    artifact = Artifact.open(make_artifact())
    folder = write_triton_model(artifact, models)
    before = (folder / "config.pbtxt").read_bytes()

    def fail(*arguments):
        raise RuntimeError("disk full")

    monkeypatch.setattr(triton, "config_text", fail)
    with pytest.raises(RuntimeError):
        write_triton_model(artifact, models)
    assert [path.name for path in models.iterdir()] == [folder.name]
    assert (folder / "config.pbtxt").read_bytes() == before


def test_a_folder_of_other_things_is_refused(make_artifact, tmp_path):
    artifact = Artifact.open(make_artifact())
    other = tmp_path / "photos"
    (other / "holiday").mkdir(parents=True)
    with pytest.raises(InputError, match=r"'holiday' holds no config\.pbtxt"):
        write_triton_model(artifact, other)
    (other / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_triton_model(artifact, other / "file")
    foreign = tmp_path / "models" / "theirs"
    foreign.mkdir(parents=True)
    (foreign / "config.pbtxt").write_text('name: "theirs"')
    with pytest.raises(InputError, match="someone else's"):
        write_triton_model(artifact, tmp_path / "models", options=TritonOptions("theirs"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "../x"}, "model name"),
        ({"name": ".hidden"}, "model name"),
        ({"max_batch": 0}, "at least 1"),
        ({"queue_delay_us": -1}, "at least 0"),
    ],
)
def test_options_that_no_server_takes_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        TritonOptions(**options)


def test_the_command_writes_it_and_says_how_to_serve(make_artifact, tmp_path, parse):
    models = tmp_path / "models"
    flags = ["--name", "line", "--max-batch", "1"]
    result = CliRunner().invoke(main, [str(make_artifact()), str(models), *flags])
    assert result.exit_code == 0, result.output
    assert f"tritonserver --model-repository={models}" in result.output
    config = parse(models / "line")
    assert list(config.dynamic_batching.preferred_batch_size) == []
    assert "line" in (models / "line" / "README.md").read_text().splitlines()[0]


def test_bad_input_ends_with_2(make_artifact, tmp_path):
    artifact = str(make_artifact())
    for arguments, said in (
        ([artifact, str(tmp_path / "m"), "--precision", "int8"], "has no int8 graph"),
        ([str(tmp_path / "none"), str(tmp_path / "m")], "not an artifact"),
        ([artifact, artifact], "is no model repository"),
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert said in result.output


def test_without_tensorrt_no_engine_is_served(make_artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad.device.ctypes.CDLL", lambda name: FakeDriver())
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    result = CliRunner().invoke(main, [str(make_artifact()), str(tmp_path / "m"), "--engine"])
    assert result.exit_code == 2
    assert "'tensorrt', which is not installed" in result.output
    assert not (tmp_path / "m").exists()

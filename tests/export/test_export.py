import dataclasses
import shutil

import pytest
import torch

from zsad.artifact import Artifact
from zsad.errors import InputError, ParityError
from zsad_export.assembly import export_model
from zsad_export.export import export_checkpoint, read_for_export
from zsad_export.identity import identity_of
from zsad_train.checkpoint import load_checkpoint


def listing(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


class TestManifest:
    @pytest.fixture
    def manifest(self, artifact):
        return artifact.manifest

    def test_lists_every_file_and_no_other(self, artifact, manifest):
        found = {name for name in listing(artifact.path) if "." in name} - {"manifest.json"}
        assert set(manifest.files) == found
        assert {"model.fp32.onnx", "model.fp16.onnx", "golden/reference.npz"} < found

    def test_says_what_was_trained(self, manifest, checkpoint):
        assert manifest.method.name == "dive"
        assert manifest.method.options["ca_after_blocks"] == [-3, -2]
        assert manifest.backbone.name == "zsad-test-export"
        assert manifest.backbone.pretrained == "random:3"
        assert manifest.words.abnormal[0] == "a photo of an object with a scratch"
        assert manifest.words.normal == ("a photo of an object with a clean surface",)

    def test_states_the_graph_contract(self, manifest):
        assert [(t.name, t.shape, t.dtype) for t in manifest.inputs] == [
            ("image", ("N", 32, 40, 3), "uint8")
        ]
        assert [(t.name, t.shape, t.dtype) for t in manifest.outputs] == [
            ("score", ("N",), "float32"),
            ("anomaly_map", ("N", 32, 40), "float32"),
            ("score_logit", ("N",), "float32"),
        ]

    def test_prefers_the_half_graph_and_keeps_the_reference(self, manifest):
        assert manifest.default_precision == "fp16"
        assert {g.opset for g in manifest.graphs.values()} == {20}
        assert manifest.graphs["fp32"].file == "model.fp32.onnx"

    def test_parity_is_measured_and_says_what_stands_behind_it(self, manifest):
        exact, half = manifest.parity["fp32"], manifest.parity["fp16"]
        assert exact.frames == half.frames == 4
        assert exact.backend.startswith("onnxruntime ")
        assert 0 < exact.map_mean_abs <= exact.map_max_abs < 1e-5
        assert exact.map_max_abs < half.map_max_abs < 2e-2
        assert half.map_correlation >= 0.999
        assert half.largest_magnitude > 1
        assert "FP16 emulated on CPU" in half.evidence
        assert "FP16" not in exact.evidence

    def test_names_the_versions_that_made_it(self, manifest):
        assert manifest.made_by["torch"] == torch.__version__.split("+")[0]
        assert {"zsad", "onnx", "onnxscript", "onnxruntime", "python"} < set(manifest.made_by)


@pytest.fixture(scope="module", autouse=True)
def small_golden_frames(frames):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zsad_export.assembly.golden_frames", lambda: frames)
        yield


@pytest.fixture(scope="module")
def small_artifact(small_golden_frames, small_detector, identity, tmp_path_factory):
    return export_model(small_detector, identity, tmp_path_factory.mktemp("small") / "a", ["fp32"])


def test_exporting_again_gives_the_same_artifact(
    small_artifact, small_detector, identity, tmp_path
):
    again = export_model(small_detector, identity, tmp_path / "again", ["fp32"])
    assert again.manifest.default_precision == "fp32"
    assert again.sha256 == small_artifact.sha256


def test_a_manifest_names_no_folder_of_this_machine(checkpoint):
    loaded = load_checkpoint(checkpoint)
    backbone = dataclasses.replace(loaded.backbone, pretrained="/home/someone/ViT.safetensors")
    identity = identity_of(dataclasses.replace(loaded, backbone=backbone))
    assert identity.backbone.pretrained == "ViT.safetensors"


class TestGateFailure:
    """The baked detector is another one than the method that was trained."""

    @pytest.fixture
    def build_faulty(self, small_detector):
        class Faulty(small_detector):
            def bake(self):
                baked = small_detector().eval()
                baked.blocks[0].mlp[2].bias.data += 0.1
                return baked

        return Faulty

    def test_leaves_the_old_artifact_and_no_scratch(
        self, build_faulty, small_artifact, identity, tmp_path
    ):
        shutil.copytree(small_artifact.path, tmp_path / "out")
        with pytest.raises(ParityError, match=r"first at layer 'detector\.blocks\.0\.mlp\.2'"):
            export_model(build_faulty, identity, tmp_path / "out", ["fp32"])
        assert Artifact.open(tmp_path / "out").sha256 == small_artifact.sha256
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_can_be_overruled_on_the_record(self, build_faulty, identity, tmp_path):
        made = export_model(
            build_faulty, identity, tmp_path / "out", ["fp32"], allow_parity_loss=True
        )
        assert "allowed by --allow-parity-loss" in made.manifest.parity["fp32"].evidence
        assert made.manifest.parity["fp32"].score_max_abs > 1e-4


def test_another_image_size_must_fit_the_patches(checkpoint, tmp_path):
    with pytest.raises(InputError, match="33"):
        export_checkpoint(read_for_export(checkpoint, 33), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_foreign_directory_is_not_replaced(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match="is not an artifact"):
        export_checkpoint(load_checkpoint(checkpoint), tmp_path / "out")
    assert listing(tmp_path) == ["out", "out/thesis.doc"]

"""Builds for a device, on a TensorRT that obeys the documentation of releases 10.3 and 11.4."""

import io
import json
import types

import pytest
from click.testing import CliRunner
from fake_device import FakeDevice

from zsad.artifact import Artifact
from zsad.engine_cache import BuildOptions
from zsad.errors import EngineError, InputError
from zsad_export.built_engine import check_engine_types, engine_types
from zsad_export.cli.build_line import BuildLine
from zsad_export.cli.engine import main as engine_command
from zsad_export.engine import build_native_engine

RELEASES = ("10.3.0", "11.4.0.106")


@pytest.fixture
def install(monkeypatch, tmp_path):
    return lambda version="10.3.0", **options: FakeDevice(
        monkeypatch, tmp_path / "cache", version=version, **options
    )


@pytest.fixture
def known(make_artifact):
    return Artifact.open(make_artifact())


@pytest.mark.parametrize("version", RELEASES)
def test_both_releases_build_and_check_what_they_built(install, artifact, version):
    install(version)
    fp16 = build_native_engine(artifact, "fp16")
    fp32 = build_native_engine(artifact, "fp32")
    assert (fp16.record.key.version, fp16.record.key.device) == (version, "Orin sm87")
    assert fp16.record.engine_types["float16"] > fp16.record.compute_types["float16"] > 0
    assert fp32.record.engine_types.keys() == {"float32"}
    assert f"engine tensors {fp16.record.engine_types['float16']} FP16" in fp16.describe()
    assert build_native_engine(artifact, "fp16").was_cached


@pytest.mark.parametrize("version", RELEASES)
def test_an_fp32_engine_labelled_fp16_is_refused(install, artifact, version, tmp_path):
    install(version, labelled_only=True)
    with pytest.raises(EngineError, match="built an engine for fp16 in which nothing is FP16"):
        build_native_engine(artifact, "fp16")
    assert not list((tmp_path / "cache").rglob("*.engine"))


def test_release_10_is_told_that_networks_are_typed(install, artifact, monkeypatch):
    fake = install()
    made = fake.trt.Builder.create_network
    monkeypatch.setattr(fake.trt.Builder, "create_network", lambda self, flags: made(self, 0))
    with pytest.raises(EngineError, match="nothing is FP16"):
        build_native_engine(artifact, "fp16")


def test_half_precision_in_an_fp32_engine_is_refused():
    check_engine_types({"float32": 9}, "fp32", "TensorRT")
    with pytest.raises(EngineError, match="for fp32 that writes 2 tensors in FP16"):
        check_engine_types({"float32": 9, "float16": 2}, "fp32", "TensorRT")


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        ({"Format/Datatype": "Row major linear FP16 format"}, {"float16": 1}),
        ({"Format/Datatype": "Half"}, {"float16": 1}),
        ({"Datatype": "Float", "Format": "Row major linear FP32"}, {"float32": 1}),
        ({"DataType": "Half"}, {"float16": 1}),
        ({"Format/Datatype": "BFloat16"}, {}),
        ({"Format/Datatype": "Int8"}, {}),
        ({"Name": "y"}, {}),
    ],
)
def test_types_are_read_from_every_releases_words(tensor, found):
    layer = {"Name": "x", "Outputs": [tensor]}
    assert engine_types(json.dumps({"Layers": [layer]})) == found
    assert engine_types(json.dumps({"Layers": ["x"]})) == {}


def test_an_inspector_that_names_no_types_is_told(install, known, monkeypatch):
    install()
    monkeypatch.setattr("zsad_export.tensorrt_api.inspect_plan", lambda *a: '{"Layers": ["x"]}')
    assert "types of the engine not told" in build_native_engine(known).describe()


def test_a_cache_that_cannot_be_written_is_found_before_the_build(
    install, known, monkeypatch, tmp_path
):
    fake = install()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZSAD_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set ZSAD_CACHE to a folder"):
        build_native_engine(known)
    assert fake.trt.builds == []


@pytest.mark.parametrize("version", RELEASES)
def test_options_reach_the_compiler(install, known, version):
    fake = install(version)
    build_native_engine(known, options=BuildOptions(4, 256, 5, True, True))
    (config,) = fake.trt.builds
    assert config.profiles[0].shapes["image"][2] == (4, 8, 12, 3)
    assert config.pools == {fake.trt.MemoryPoolType.WORKSPACE: 256 << 20}
    assert config.builder_optimization_level == 5
    assert config.flags == {fake.trt.BuilderFlag.VERSION_COMPATIBLE}
    assert config.hardware_compatibility_level is fake.trt.HardwareCompatibilityLevel.AMPERE_PLUS


def test_defaults_leave_the_compiler_its_own(install, known):
    fake = install()
    build_native_engine(known)
    (config,) = fake.trt.builds
    assert (config.pools, config.flags, config.builder_optimization_level) == ({}, set(), 3)


def test_products_in_fp32_are_not_rounded_unless_asked_for(install, known):
    fake = install()
    build_native_engine(known)
    build_native_engine(known, options=BuildOptions(tf32=True))
    exact, rounded = fake.trt.builds
    assert fake.trt.BuilderFlag.TF32 not in exact.flags
    assert fake.trt.BuilderFlag.TF32 in rounded.flags


@pytest.mark.parametrize(
    ("missing", "options", "flag"),
    [
        ("BuilderFlag", BuildOptions(version_compatible=True), "--version-compatible"),
        (
            "HardwareCompatibilityLevel",
            BuildOptions(hardware_compatible=True),
            "--hardware-compatible",
        ),
    ],
)
def test_an_option_that_a_release_lacks_is_refused(
    install, known, monkeypatch, missing, options, flag
):
    fake = install()
    monkeypatch.setattr(fake.trt, missing, types.SimpleNamespace(TF32="TF32"))
    with pytest.raises(InputError, match=f"does not know {flag}"):
        build_native_engine(known, options=options)


def test_kernel_timings_are_kept_for_the_next_build(install, known):
    fake = install()
    build_native_engine(known)
    build_native_engine(known, options=BuildOptions(2))
    assert [config.began_with for config in fake.trt.builds] == [b"", b"timings"]


def test_timings_of_another_device_are_not_used(install, known, tmp_path):
    fake = install()
    build_native_engine(known)
    (path,) = (tmp_path / "cache").rglob("timing-*")
    path.write_bytes(b"of another device")
    build_native_engine(known, options=BuildOptions(2))
    assert [config.began_with for config in fake.trt.builds] == [b"", b""]
    assert path.read_bytes() == b"timings"


def test_progress_is_told_where_the_release_has_a_monitor(install, known, monkeypatch):
    fake, told = install(), []
    build_native_engine(known, progress=lambda *step: told.append(step))
    assert ("Tactic Selection", 2, 3) in told
    assert told[-1] == ("Building Engine", 2, 2)
    monkeypatch.delattr(fake.trt, "IProgressMonitor")
    told.clear()
    assert not build_native_engine(known, options=BuildOptions(2)).was_cached
    assert told == []


@pytest.mark.parametrize(
    ("terminal", "seconds", "said"),
    [
        (True, (0.1, 0.3), "\rfp16: Tactic Selection 2/3, 0 s\x1b[K\r\x1b[K"),
        (False, (5, 11, 15), "fp16: Tactic Selection 2/3, 11 s\n"),
    ],
)
def test_progress_is_one_line(monkeypatch, terminal, seconds, said):
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", shown)
    clock = iter([0.0, *seconds])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with BuildLine("fp16") as line:
        for step in range(len(seconds)):
            line.show("Tactic Selection", step + 1, 3)
    assert shown.getvalue() == said


def test_an_engine_that_cannot_be_loaded_is_refused(install, known, monkeypatch):
    fake = install()
    monkeypatch.setattr(
        fake.trt.Builder, "build_serialized_network", lambda self, network, config: b"other"
    )
    with pytest.raises(EngineError, match="cannot load what it built: IRuntime"):
        build_native_engine(known)


def test_a_compilers_refusal_comes_in_its_own_words(install, known, monkeypatch):
    install()
    monkeypatch.setattr("fake_network.Config.add_optimization_profile", lambda self, profile: 0)
    with pytest.raises(EngineError, match=r"cannot build .*: no optimization profile"):
        build_native_engine(known)


def test_a_tensorrt_before_strong_typing_is_too_old(install, known, monkeypatch):
    fake = install()
    fake.trt.__version__ = "8.6.1"
    monkeypatch.setattr(fake.trt, "NetworkDefinitionCreationFlag", object())
    with pytest.raises(InputError, match=r"8\.6\.1 is too old"):
        build_native_engine(known)


@pytest.mark.parametrize("version", RELEASES)
def test_the_command_builds_and_writes_what_the_inspector_says(install, known, tmp_path, version):
    install(version)
    out = tmp_path / "layers.json"
    arguments = [str(known.path), "--fp32", "--workspace-mib", "64", "--inspect", str(out)]
    result = CliRunner().invoke(engine_command, arguments)
    assert result.exit_code == 0, result.output
    assert f"fp32: built by tensorrt {version} for Orin sm87" in result.stdout
    layers = json.loads(out.read_text())["Layers"]
    assert "Outputs" in layers[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rtx", "--version-compatible"], "not for --rtx"),
        (["--fp32", "--fp16", "--inspect", "x.json"], "name one precision"),
        (["--sm", "86"], "--sm goes with --rtx"),
    ],
)
def test_options_that_do_not_go_together_are_refused(known, arguments, said):
    result = CliRunner().invoke(engine_command, [str(known.path), *arguments])
    assert result.exit_code == 2
    assert said in result.stderr

import json
import os
from pathlib import Path

import pytest

from zsad.artifact import MANIFEST, Artifact, artifact_writer, hash_files, seal
from zsad.errors import InputError
from zsad.manifest import read_manifest


def edit_manifest(path, **changes):
    data = json.loads((path / MANIFEST).read_text())
    data.update(changes)
    (path / MANIFEST).write_text(json.dumps(data))


def test_a_sound_artifact_opens(make_artifact):
    path = make_artifact(precisions=("fp32", "fp16"), default="fp16")
    artifact = Artifact.open(path)
    assert artifact.graph().file == "model.fp16.onnx"
    assert artifact.graph("fp32").file == "model.fp32.onnx"
    assert artifact.graph("fp32").sha256 != artifact.graph("fp16").sha256
    assert artifact.file("model.fp32.onnx") == path / "model.fp32.onnx"


def test_identity_is_the_hash_of_the_manifest(make_artifact):
    path = make_artifact()
    before = Artifact.open(path).sha256
    assert Artifact.open(path).sha256 == before
    edit_manifest(path, made_by={"zsad": "9"})
    assert Artifact.open(path).sha256 != before


def test_a_precision_that_was_not_exported_names_the_fix(make_artifact):
    artifact = Artifact.open(make_artifact())
    with pytest.raises(InputError, match=r"no int8 graph, only fp32: zsad-export .* --int8"):
        artifact.graph("int8")
    with pytest.raises(InputError, match=r"no int8_fp16 graph, only fp32: .* --int8 --fp16$"):
        artifact.graph("int8_fp16")
    with pytest.raises(InputError, match="lists no file 'other'"):
        artifact.file("other")


def flip_one_byte(path):
    content = bytearray((path / "model.fp32.onnx").read_bytes())
    content[-1] ^= 1
    (path / "model.fp32.onnx").write_bytes(content)


def remove_the_graph(path):
    (path / "model.fp32.onnx").unlink()


def link_outside(path):
    moved = path.parent / "moved.onnx"
    (path / "model.fp32.onnx").rename(moved)
    (path / "model.fp32.onnx").symlink_to(moved)


def name_a_file_above(path):
    (path.parent / "secret").write_text("x")
    files = {**json.loads((path / MANIFEST).read_text())["files"], "../secret": "0" * 64}
    edit_manifest(path, files=files)


def name_an_absolute_file(path):
    files = {**json.loads((path / MANIFEST).read_text())["files"], "/etc/hostname": "0" * 64}
    edit_manifest(path, files=files)


def name_a_windows_path(path):
    files = {**json.loads((path / MANIFEST).read_text())["files"], "..\\secret": "0" * 64}
    edit_manifest(path, files=files)


def newer_schema(path):
    edit_manifest(path, schema=2)


def no_schema(path):
    edit_manifest(path, schema="one")


def unknown_key(path):
    edit_manifest(path, colour="red")


def graph_not_listed(path):
    edit_manifest(path, files={})


def graph_with_another_hash(path):
    graphs = json.loads((path / MANIFEST).read_text())["graphs"]
    graphs["fp32"]["sha256"] = "0" * 64
    edit_manifest(path, graphs=graphs)


def data_not_listed(path):
    graphs = json.loads((path / MANIFEST).read_text())["graphs"]
    graphs["fp32"]["data"] = "model.fp32.data"
    edit_manifest(path, graphs=graphs)


def default_without_graph(path):
    edit_manifest(path, default_precision="int8")


def manifest_is_a_list(path):
    (path / MANIFEST).write_text("[]")


def no_manifest(path):
    (path / MANIFEST).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_one_byte, "'model.fp32.onnx' has a wrong hash: export or copy it again"),
        (remove_the_graph, "'model.fp32.onnx' is missing"),
        (link_outside, "is a link that leaves the directory"),
        (name_a_file_above, "'../secret', which leaves the directory"),
        (name_an_absolute_file, "'/etc/hostname', which leaves the directory"),
        (name_a_windows_path, "which leaves the directory"),
        (newer_schema, "has schema 2, this zsad reads up to 1: upgrade"),
        (no_schema, "has no schema number"),
        (unknown_key, "unknown key 'colour'"),
        (graph_not_listed, "model.fp32.onnx is not in 'files'"),
        (graph_with_another_hash, "not in 'files' with the same hash"),
        (data_not_listed, "model.fp32.data is not in 'files'"),
        (default_without_graph, "no int8 graph, only fp32"),
        (manifest_is_a_list, "is not an artifact manifest"),
        (no_manifest, "is not an artifact: it holds no manifest.json"),
    ],
)
def test_a_damaged_artifact_is_refused(make_artifact, damage, message):
    path = make_artifact()
    damage(path)
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        Artifact.open(path)


def test_a_link_inside_the_directory_is_taken(make_artifact):
    path = make_artifact()
    (path / "model.fp32.onnx").rename(path / "real.onnx")
    (path / "model.fp32.onnx").symlink_to("real.onnx")
    Artifact.open(path)


def test_hashes_cover_sub_folders_but_not_the_manifest(make_artifact):
    path = make_artifact()
    (path / "golden").mkdir()
    (path / "golden" / "0.png").write_bytes(b"abc")
    assert sorted(hash_files(path)) == ["golden/0.png", "model.fp32.onnx"]


def contents(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_a_new_artifact_replaces_the_old_one_whole(make_artifact, tmp_path):
    target = make_artifact("old", precisions=("fp32", "fp16"))
    new = make_artifact("new")
    manifest = read_manifest(new / MANIFEST)
    with artifact_writer(target) as scratch:
        (scratch / "model.fp32.onnx").write_bytes((new / "model.fp32.onnx").read_bytes())
        seal(scratch, manifest)
        assert contents(target) == ["manifest.json", "model.fp16.onnx", "model.fp32.onnx"]
    assert contents(target) == ["manifest.json", "model.fp32.onnx"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old"]
    Artifact.open(target)


def test_an_error_leaves_the_old_artifact_and_no_scratch(make_artifact, tmp_path):
    target = make_artifact()
    before = Artifact.open(target).sha256
    with pytest.raises(RuntimeError, match="half way"), artifact_writer(target) as scratch:
        (scratch / "model.fp32.onnx").write_bytes(b"half")
        raise RuntimeError("half way")
    assert Artifact.open(target).sha256 == before
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]


def test_a_failed_swap_puts_the_old_artifact_back(make_artifact, tmp_path, monkeypatch):
    target = make_artifact()
    before = Artifact.open(target).sha256
    rename = os.rename

    def fail_on_the_new_one(source, destination):
        if str(source).endswith(".new"):
            raise OSError("disk gone")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fail_on_the_new_one)
    with pytest.raises(OSError, match="disk gone"), artifact_writer(target) as scratch:
        seal(scratch, read_manifest(target / MANIFEST))
    assert Artifact.open(target).sha256 == before
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]


def test_an_artifact_without_manifest_is_never_swapped_in(tmp_path):
    with pytest.raises(AssertionError), artifact_writer(tmp_path / "new"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_artifact_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with (
        pytest.raises(InputError, match="exists and is not an artifact"),
        artifact_writer(tmp_path / "photos"),
    ):
        pass
    assert contents(tmp_path) == ["photos", "photos/a.jpg"]


def test_the_current_folder_can_be_the_target(make_artifact, tmp_path, monkeypatch):
    target = make_artifact()
    monkeypatch.chdir(target)
    with artifact_writer(Path()) as scratch:
        (scratch / "model.fp32.onnx").write_bytes((target / "model.fp32.onnx").read_bytes())
        seal(scratch, read_manifest(target / MANIFEST))
    Artifact.open(target)
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]

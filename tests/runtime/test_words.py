import dataclasses
import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

from zsad import Detector, InputError, Verdict
from zsad.artifact import MANIFEST, Artifact
from zsad.cli.words import main
from zsad.errors import ParityError
from zsad.recipe import Recipe, TypeThreshold, read_recipe, write_recipe
from zsad.text_table import change_words, encode_words, read_table
from zsad.words import MAX_TYPES, parse_words

GREY_51 = np.full((30, 40, 3), 51, np.uint8)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_words_lose_needless_spaces_and_keep_their_order():
    assert parse_words(" scratch , missing   screw,O-ring (50%)") == (
        "scratch",
        "missing screw",
        "O-ring (50%)",
    )


MANY = ",".join(f"type a{index}" for index in range(500))
BAD_WORDS = {
    "": "--defects is empty",
    " , ,": "--defects is empty",
    "scratch,,dent": "has an empty word",
    "scratch,dent,Scratch": "'scratch' is there twice",
    MANY: f"500 defect types are too many: give --defects {MAX_TYPES} at most",
    "царапина": "'царапина' is not English letters",
    "scratch,划痕": "'划痕' is not English letters",
    "défaut": "give --defects English words",
    "<end_of_text>": "is not English letters",
    "12": "is not English letters",
    "a&amp;b": "is not English letters",
}


@pytest.mark.parametrize(("text", "message"), BAD_WORDS.items())
def test_bad_words_are_one_line_and_change_nothing(make_typed_artifact, text, message):
    path = make_typed_artifact()
    before = Artifact.open(path).sha256
    result = invoke(path, "--defects", text)
    assert result.exit_code == 2
    (line,) = (line for line in result.stderr.splitlines() if "error:" in line)
    assert message in line and len(line) < 200
    assert Artifact.open(path).sha256 == before


def test_a_word_longer_than_the_context_is_refused(make_typed_artifact, tmp_path):
    path = make_typed_artifact()
    before = Artifact.open(path).sha256
    result = invoke(path, "--defects", "dent,a b c d e f g h i j k")
    assert result.exit_code == 2
    assert "fills all 12 text tokens: use fewer words" in result.stderr
    assert Artifact.open(path).sha256 == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["typed"]


class TestTable:
    def test_rows_are_the_encoders(self, make_typed_artifact):
        artifact = Artifact.open(make_typed_artifact())
        # Start, "a", "here", end and the word's own: 5 and 6 of 12.
        rows = encode_words(artifact, ["dent", "missing screw"])
        np.testing.assert_allclose(rows, [[5 / 12, 1], [6 / 12, 1]], atol=1e-6)

    def test_changing_words_changes_the_table_and_the_words_alone(self, make_typed_artifact):
        path = make_typed_artifact()
        before = Artifact.open(path)
        graph = (path / "model.fp32.onnx").read_bytes()
        result = invoke(path, "--defects", "missing screw,burr, a very deep dent")
        assert result.exit_code == 0, result.output
        after = Artifact.open(path)  # verifies every hash
        assert after.manifest.words.types == ("missing screw", "burr", "a very deep dent")
        expected = [[0.9, 1], [6 / 12, 1], [5 / 12, 1], [8 / 12, 1]]
        np.testing.assert_allclose(read_table(after), expected, atol=1e-6)
        changed = after.manifest.files.items() ^ before.manifest.files.items()
        assert {name for name, _ in changed} == {"text_table.npy"}
        assert (path / "model.fp32.onnx").read_bytes() == graph
        same = dataclasses.replace(
            after.manifest, words=before.manifest.words, files=before.manifest.files
        )
        assert same == before.manifest and after.sha256 != before.sha256
        assert [entry.name for entry in path.parent.iterdir()] == ["typed"]
        assert after.sha256[:12] in result.stdout
        assert "run zsad-calibrate" in result.stdout

    def test_another_out_leaves_the_artifact_alone(self, make_typed_artifact, tmp_path):
        path = make_typed_artifact()
        before = Artifact.open(path).sha256
        result = invoke(path, "--defects", "burr", "--out", tmp_path / "other")
        assert result.exit_code == 0, result.output
        assert Artifact.open(path).sha256 == before
        assert Artifact.open(tmp_path / "other").manifest.words.types == ("burr",)
        assert listing(path) == listing(tmp_path / "other")

    def test_what_the_manifest_does_not_list_is_not_carried_along(self, make_typed_artifact):
        path = make_typed_artifact()
        (path / "note.txt").write_text("mine")
        change_words(Artifact.open(path), ("burr",), path.with_name("other"))
        assert "note.txt" not in listing(path.with_name("other"))

    def test_files_are_copied_where_they_cannot_be_linked(self, make_typed_artifact, monkeypatch):
        def refuse(*_):
            raise OSError("another file system")

        monkeypatch.setattr(os, "link", refuse)
        path = make_typed_artifact()
        assert change_words(Artifact.open(path), ("burr",), path).manifest.words.types == ("burr",)

    def test_a_failure_leaves_the_old_artifact(self, make_typed_artifact, monkeypatch):
        path = make_typed_artifact()
        artifact = Artifact.open(path)

        def full(*_):
            raise InputError("cannot write: no space left")

        monkeypatch.setattr("zsad.text_table.write_atomic", full)
        with pytest.raises(InputError, match="no space"):
            change_words(artifact, ("burr",), path)
        assert Artifact.open(path).sha256 == artifact.sha256
        assert [entry.name for entry in path.parent.iterdir()] == ["typed"]

    def test_an_encoder_that_is_not_the_tables_is_refused(self, make_typed_artifact, reseal):
        path = make_typed_artifact()
        np.save(path / "text_table.npy", np.float32([[0.9, 1], [0.5, 1], [0.5, 1]]))
        reseal(path)
        with pytest.raises(ParityError, match=r"encodes 'dent' 0\.083 away from its own"):
            change_words(Artifact.open(path), ("burr",), path)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (np.float32([[1, 1], [1, 1]]), r"is float32\[2, 2\] for 2 words"),
            (np.ones((3, 2)), r"is float64\[3, 2\] for 2 words"),
            (np.float32([[1, 1], [1, 1], [1, np.nan]]), "holds values that are no numbers"),
            (np.array([[{}]]), "cannot be read"),
        ],
    )
    def test_a_table_of_other_words_is_refused(self, make_typed_artifact, reseal, table, message):
        path = make_typed_artifact()
        np.save(path / "text_table.npy", table, allow_pickle=True)
        reseal(path)
        with pytest.raises(InputError, match=message):
            Detector.load(path)

    def test_an_artifact_whose_text_is_baked_takes_no_words(self, make_artifact):
        result = invoke(make_artifact(), "--defects", "dent")
        assert result.exit_code == 2
        assert "the text of known is baked: only dapo takes words" in result.stderr

    def test_a_manifest_that_lists_no_table_is_refused(self, make_typed_artifact):
        path = make_typed_artifact()
        data = json.loads((path / MANIFEST).read_text())
        del data["files"]["text_table.npy"]
        (path / MANIFEST).write_text(json.dumps(data))
        with pytest.raises(InputError, match=r"text_table\.npy is not in 'files'"):
            Artifact.open(path)


class TestDetector:
    def test_maps_scores_and_the_named_type_are_known_by_hand(self, make_typed_artifact, reseal):
        path = make_typed_artifact()
        np.save(path / "text_table.npy", np.float32([[0, 0], [0.25, 0], [0.75, 0]]))
        reseal(path)
        with Detector.load(path) as detector:
            result = detector.predict(GREY_51)
        assert result.type_map.shape == (2, 8, 12)
        np.testing.assert_allclose(result.type_map[1], 0.15, atol=1e-6)
        np.testing.assert_allclose(result.type_score, [0.05, 0.15], atol=1e-6)
        assert result.defect.name == "rust"
        assert result.defect.confidence == pytest.approx(0.75)

    def test_no_type_is_named_where_there_is_no_defect(self, make_typed_artifact, make_recipe):
        path = make_typed_artifact()
        artifact = Artifact.open(path)
        for threshold, verdict in ((0.19, Verdict.NG), (0.21, Verdict.OK)):
            plain = make_recipe(path, threshold)
            recipe = dataclasses.replace(plain, words_sha256=artifact.manifest.words_sha256)
            with Detector.load(path, recipe) as detector:
                result = detector.predict(GREY_51)
            assert result.verdict is verdict
            assert (result.defect is not None) == (verdict is Verdict.NG)
            assert result.type_score is not None

    def test_nothing_speaks_for_any_type_of_a_black_frame(self, make_typed_artifact):
        with Detector.load(make_typed_artifact()) as detector:
            result = detector.predict(np.zeros((8, 12, 3), np.uint8))
        assert result.defect.confidence == 0.5

    def test_a_threshold_is_only_good_for_the_words_it_was_made_with(
        self, make_typed_artifact, make_recipe, tmp_path
    ):
        path = make_typed_artifact()
        plain = make_recipe(path, 0.1)
        words = Artifact.open(path).manifest.words_sha256
        write_recipe(tmp_path / "part.json", dataclasses.replace(plain, words_sha256=words))
        assert read_recipe(tmp_path / "part.json").words_sha256 == words
        with Detector.load(path, tmp_path / "part.json") as detector:
            assert detector.predict(GREY_51).verdict is Verdict.NG
        change_words(Artifact.open(path), ("missing screw",), path)
        for recipe in (read_recipe(tmp_path / "part.json"), plain):
            with Detector.load(path, recipe) as detector:
                result = detector.predict(GREY_51)
            assert (result.verdict, result.defect) == (Verdict.NO_RESULT, None)
            assert "other defect types than the artifact has now: run zsad-cal" in result.reason

    def test_thresholds_of_other_types_are_none(self, make_typed_artifact, make_recipe):
        path = make_typed_artifact()
        types = tuple(TypeThreshold(name, 0.5) for name in ("rust", "dent"))  # another order
        with Detector.load(path, make_recipe(path, 0.5, types=types)) as detector:
            result = detector.predict(GREY_51)
        assert result.verdict is Verdict.NO_RESULT
        assert "calibrated for other defect types than the artifact has now" in result.reason
        with Detector.load(path, make_recipe(path, 0.5, types=types[::-1])) as detector:
            assert detector.predict(GREY_51).verdict is Verdict.OK

    def test_a_recipe_of_words_is_none_for_a_graph_without(self, make_artifact, make_recipe):
        path = make_artifact()
        recipe = dataclasses.replace(make_recipe(path, 0.1), words_sha256="0" * 64)
        assert isinstance(recipe, Recipe)
        with Detector.load(path, recipe) as detector:
            assert detector.predict(GREY_51).verdict is Verdict.NO_RESULT

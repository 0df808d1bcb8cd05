"""Verdicts that the line's own judge reached, kept, and computed again."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from fake_device import FakeDevice

from zsad.artifact import Artifact
from zsad.cli.ledger import main
from zsad.detector import Detector
from zsad.engine_cache import BuildOptions
from zsad.errors import InputError
from zsad.images import frame_sha256
from zsad.inspection.config import DebounceConfig, Inspection, Roi
from zsad.inspection.parts import worst
from zsad.ledger import Ledger, LedgerConfig, Picture, SnapshotConfig
from zsad.ledger.replay import replay
from zsad.line.accounts import Ticket
from zsad.line.judge import Judge, Taken
from zsad.recipe import TypeThreshold, write_recipe
from zsad.sources.base import Frame

KEEP_ALL = LedgerConfig(snapshots=SnapshotConfig(ok_every=1, uncalibrated_every=1))


@pytest.fixture
def line(tmp_path, make_verdict):
    """Return `line(artifact, recipe, levels, trigger) -> record` of the frames of these greys."""

    def record_of(artifact, recipe, levels, trigger=None, **changed):
        if recipe is not None:
            write_recipe(tmp_path / "part.json", recipe)
        frames = [np.full((16, 20, 3), level, np.uint8) for level in levels]
        with Detector.load(artifact, recipe, backend="cpu") as detector:
            judge = Judge(detector)
            taken = [
                Taken(
                    Ticket(i, "top", 0.0), Frame(str(i), each, None, 0.0, trigger), judge.identity
                )
                for i, each in enumerate(frames)
            ]
            views = tuple(
                replace(one.view, frame_sha256=frame_sha256(frame))
                for one, frame in zip(judge.judge(taken), frames, strict=True)
            )
        record = replace(
            make_verdict("p"),
            verdict=worst(view.verdict for view in views),
            views=views,
            triggered=trigger is not None,
        )
        with Ledger.open(tmp_path / "ledger", KEEP_ALL) as ledger:
            pictures = [Picture(index, frame, None) for index, frame in enumerate(frames)]
            return ledger.commit(replace(record, **changed), pictures)

    return record_of


@pytest.fixture
def again(tmp_path):
    """Return `again(record, artifact) -> Replay`, with the recipe that `line` wrote."""
    return lambda record, artifact: replay(
        record, tmp_path / "ledger", artifact, [tmp_path / "part.json"]
    )


OWN = (TypeThreshold("dent", 0.2), TypeThreshold("rust", 0.9))
"""A type's score is 5/12 of the grey level: 0.204 at 125, where the score itself is 0.49."""


def test_an_ng_by_a_type_comes_out_again(line, again, make_typed_artifact, make_recipe, tmp_path):
    path = make_typed_artifact()
    record = line(path, make_recipe(path, 0.99, types=OWN), [125, 100], trigger="p")
    assert [view.verdict for view in record.views] == ["NG", "OK"]
    assert record.views[0].defect_threshold == 0.2
    found = again(record, path)
    assert [view.computed_verdict for view in found.views] == ["NG", "OK"]
    assert (found.part.computed, found.part.not_compared, found.matches) == ("NG", None, True)
    words = ["replay", "1", "--ledger", tmp_path / "ledger", "--artifact", path]
    done = CliRunner().invoke(main, [*map(str, words), "--recipe", str(tmp_path / "part.json")])
    assert done.exit_code == 0, done.output
    assert "part: NG, its views now say NG\n" in done.output


def test_a_types_score_that_was_altered_is_found(line, again, make_typed_artifact, make_recipe):
    path = make_typed_artifact()
    record = line(path, make_recipe(path, 0.99, types=OWN), [125], trigger="p")
    types = {**record.views[0].types, "rust": 0.0}
    found = again(replace(record, views=(replace(record.views[0], types=types),)), path)
    assert found.views[0].apart == pytest.approx(125 / 255 * 5 / 12)
    assert not found.matches


def test_a_score_that_does_not_come_out_again_is_found_by_an_engine_for_few_images(
    line, make_artifact, make_recipe, tmp_path, monkeypatch
):
    from zsad_export.engine import build_native_engine

    path = make_artifact()
    record = line(path, make_recipe(path, 0.45), [200], trigger="p")
    FakeDevice(monkeypatch, tmp_path / "cache")
    build_native_engine(Artifact.open(path), options=BuildOptions(max_batch=2))
    other = replace(record, views=(replace(record.views[0], score=0.6),))
    (view,) = replay(
        other, tmp_path / "ledger", path, [tmp_path / "part.json"], backend="tensorrt"
    ).views
    assert (view.batch, view.within) == (1, False)
    assert view.computed == pytest.approx(200 / 255)


def test_a_part_whose_views_say_otherwise_does_not_match(line, again, make_artifact, make_recipe):
    path = make_artifact()
    record = line(path, make_recipe(path, 0.45), [200, 10], trigger="p", verdict="OK")
    found = again(record, path)
    assert all(view.within for view in found.views)
    assert (found.part.verdict, found.part.computed) == ("OK", "NG")
    assert not found.matches


def test_no_result_for_what_no_view_shows_is_not_compared(line, again, make_artifact, make_recipe):
    path, why = make_artifact(), "views missing after 200 ms: side (1)"
    recipe = make_recipe(path, 0.45)
    record = line(path, recipe, [10], trigger="p", verdict="NO_RESULT", reason=why)
    found = again(record, path)
    assert found.part.not_compared == f"not for what its views show: {why}"
    assert found.matches


def test_a_debounced_part_is_not_compared_and_its_views_are(
    line, again, make_artifact, make_recipe
):
    path = make_artifact()
    recipe = replace(make_recipe(path, 0.5), debounce=DebounceConfig(hysteresis=0.2))
    # The second of them is NG by the lowered threshold alone: 0.4 < 115 / 255 < 0.5.
    held = line(path, recipe, [200, 115], verdict="OK")
    assert [view.verdict for view in held.views] == ["NG", "NG"]
    found = again(held, path)
    assert all(view.within for view in found.views)
    assert "debounce" in found.part.not_compared
    triggered = line(path, recipe, [200, 115], trigger="p")
    assert again(triggered, path).part.not_compared is None


def test_a_threshold_that_was_altered_is_named(line, make_artifact, make_recipe, tmp_path):
    path = make_artifact()
    record = line(path, make_recipe(path, 0.45), [200], trigger="p")
    altered = replace(record, views=(replace(record.views[0], threshold=0.4),))
    with Ledger.open(tmp_path / "ledger") as ledger:
        ledger.commit(altered, [Picture(0, np.full((16, 20, 3), 200, np.uint8), None)])
    words = ["replay", "2", "--ledger", tmp_path / "ledger", "--artifact", path]
    done = CliRunner().invoke(main, [*map(str, words), "--recipe", str(tmp_path / "part.json")])
    assert done.exit_code == 3
    assert "view top was compared with 0.4, its recipe compares with 0.45" in done.output


CAMERAS = ("top", "side", "end")
UPPER_HALF = Roi(include=(((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 0.5)),))
REGION = Inspection(roi=UPPER_HALF, frame_hw=(16, 20))


@pytest.fixture
def mixed(line, make_artifact, make_recipe, tmp_path):
    """An artifact, and a record of three views: by a recipe, by one with a region, and by none."""
    path = make_artifact()
    whole, part = make_recipe(path, 0.45), make_recipe(path, 0.7, "fp32", "map_max", REGION)
    records = [line(path, each, [200], trigger="p") for each in (whole, part, None)]
    views = [replace(each.views[0], camera=c) for each, c in zip(records, CAMERAS, strict=True)]
    write_recipe(tmp_path / "whole.json", whole)
    write_recipe(tmp_path / "region.json", part)
    return path, replace(records[0], views=tuple(views), verdict=worst(v.verdict for v in views))


def test_each_view_is_replayed_by_the_recipe_that_it_names(mixed, tmp_path):
    path, record = mixed
    files = [tmp_path / "region.json", tmp_path / "whole.json"]
    found = replay(record, tmp_path / "ledger", path, files)
    assert [view.camera for view in found.views] == [*CAMERAS]
    assert [view.computed_verdict for view in found.views] == ["NG", "NG", "UNCALIBRATED"]
    assert found.matches


def test_the_hash_of_a_recipe_that_is_missing_is_named_with_its_camera(mixed, tmp_path):
    path, record = mixed
    with Ledger.open(tmp_path / "ledger", KEEP_ALL) as ledger:
        frame = np.full((16, 20, 3), 200, np.uint8)
        seq = ledger.commit(record, [Picture(i, frame, None) for i in range(3)]).seq
    words = ["replay", seq, "--ledger", tmp_path / "ledger", "--artifact", path]
    run = CliRunner().invoke
    done = run(main, [*map(str, words), "--recipe", str(tmp_path / "whole.json")])
    assert done.exit_code == 2
    whole, region = (view.recipe[:12] for view in record.views[:2])
    assert f"recipe {region} (side): add --recipe FILE; " in done.output
    assert f"whole.json is {whole}" in done.output
    done = run(main, [*map(str, words)])
    assert f"recipe {whole} (top) and {region} (side): add --recipe FILE\n" in done.output
    both = [arg for name in ("whole", "region") for arg in ("--recipe", tmp_path / f"{name}.json")]
    done = run(main, [*map(str, [*words, *both])])
    assert done.exit_code == 0, done.output


def test_a_recipe_for_a_verdict_without_one_is_refused(line, make_artifact, tmp_path, make_recipe):
    path = make_artifact()
    record = line(path, None, [200], trigger="p")
    write_recipe(tmp_path / "part.json", make_recipe(path, 0.45))
    with pytest.raises(InputError, match="reached without a recipe: leave --recipe out"):
        replay(record, tmp_path / "ledger", path, [tmp_path / "part.json"])

import json

import numpy as np
import pytest

from zsad import Detector, InferenceError, InputError
from zsad.outputs import FolderOutput, check_folder
from zsad.recipe import Recipe
from zsad.results import read_results
from zsad.run import Limits, run
from zsad.sources import FolderSource
from zsad.sources.base import Frame


class ListSource:
    """Gives the frames of a list, then fails if told so."""

    name, total, dropped = "list", None, 0

    def __init__(self, images, failure=None):
        self.images, self.failure, self.captured, self.closed = images, failure, 0, False

    def frames(self, stop):
        for index, image in enumerate(self.images):
            if stop():
                return
            self.captured += 1
            error = None if image is not None else "camera sent half a frame"
            yield Frame(str(index), image, error, 0.0)
        if self.failure is not None:
            raise InputError(self.failure)

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ListOutput:
    def __init__(self):
        self.rows, self.summary = [], None

    def write(self, row, frame_bgr, result):
        self.rows.append(row)
        return row

    def finish(self, summary):
        self.summary = summary


def grey(level):
    return np.full((10, 14, 3), level, np.uint8)


@pytest.fixture
def detector(make_artifact, make_recipe):
    path = make_artifact()
    with Detector.load(path, make_recipe(path, 0.5)) as loaded:
        yield loaded


def test_each_frame_becomes_a_row_with_its_verdict(detector):
    source, output = ListSource([grey(51), grey(204)]), ListOutput()
    summary = run(detector, source, output)
    assert [(r.seq, r.image, r.verdict, r.reason) for r in output.rows] == [
        (0, "0", "OK", None),
        (1, "1", "NG", None),
    ]
    assert [r.score for r in output.rows] == pytest.approx([0.2, 0.8])
    assert {r.threshold for r in output.rows} == {0.5}
    assert {r.artifact for r in output.rows} == {detector.artifact.sha256}
    assert {r.graph for r in output.rows} == {detector.graph.sha256}
    assert dict(summary.verdicts) == {"OK": 1, "NG": 1}
    assert source.closed
    assert output.summary is summary


def test_a_bad_frame_is_a_row_and_the_run_goes_on(detector):
    too_deep = np.zeros((4, 4, 3), np.uint16)
    output = ListOutput()
    summary = run(detector, ListSource([grey(1), None, too_deep, grey(2)]), output)
    assert [r.verdict for r in output.rows] == ["OK", "NO_RESULT", "NO_RESULT", "OK"]
    assert output.rows[1].reason == "camera sent half a frame"
    assert "found uint16" in output.rows[2].reason
    assert output.rows[2].score is None
    assert [r.seq for r in output.rows] == [0, 1, 2, 3]
    assert (summary.captured, summary.judged, summary.dropped) == (4, 4, 0)


def test_an_engine_that_fails_gives_no_result_and_the_run_goes_on(detector, monkeypatch):
    predict = detector.predict
    calls = []

    def fail_once(frame):
        calls.append(1)
        if len(calls) == 1:
            raise InferenceError("out of memory: see https://op:secret@cache/x")
        return predict(frame)

    monkeypatch.setattr(detector, "predict", fail_once)
    output = ListOutput()
    run(detector, ListSource([grey(1), grey(2)]), output)
    assert [r.verdict for r in output.rows] == ["NO_RESULT", "OK"]
    assert output.rows[0].reason == "out of memory: see https://***@cache/x"


def test_nothing_judged_is_an_error_that_tells_the_first_reason(detector):
    output = ListOutput()
    with pytest.raises(InputError, match="none of 2 frames could be judged; the first: camera"):
        run(detector, ListSource([None, None]), output)
    assert len(output.rows) == 2
    assert output.summary is not None


def test_a_recipe_for_another_graph_makes_every_row_no_result(make_artifact, make_recipe):
    path = make_artifact()
    foreign = Recipe(1, "0" * 64, make_recipe(path, 0.5).calibrations)
    output = ListOutput()
    with Detector.load(path, foreign) as detector, pytest.raises(InputError, match="calibrated"):
        run(detector, ListSource([grey(1)]), output)
    assert (output.rows[0].verdict, output.rows[0].score) == ("NO_RESULT", None)
    assert "run zsad-calibrate" in output.rows[0].reason


def test_a_source_that_fails_keeps_what_was_judged(detector):
    output = ListOutput()
    with pytest.raises(InputError, match="camera gone"):
        run(detector, ListSource([grey(1)], failure="camera gone"), output)
    assert [r.verdict for r in output.rows] == ["OK"]
    assert output.summary.judged == 1


def test_limits_and_stop_requests_end_a_run(detector):
    frames = [grey(i) for i in range(10)]
    assert run(detector, ListSource(frames), ListOutput(), Limits(frames=3)).judged == 3
    assert run(detector, ListSource(frames), ListOutput(), stop=lambda: True).judged == 0
    output = ListOutput()
    stopped = run(detector, ListSource(frames), output, stop=lambda: len(output.rows) == 4)
    assert stopped.judged == 4


def test_a_duration_ends_a_run(detector, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("zsad.run.time.monotonic", lambda: float(next(clock)))
    summary = run(detector, ListSource([grey(1)] * 50), ListOutput(), Limits(duration_s=5))
    assert summary.judged == 4


def test_latency_percentiles_leave_out_frames_without_a_result(detector):
    summary = run(detector, ListSource([grey(1), None, grey(2)]), ListOutput())
    assert {len(values) for values in summary.latency_ms.values()} == {2}
    median, worst = summary.percentiles_ms(50, 100)["total"]
    assert 0 < median <= worst


def folder_run(detector, source, out, **options):
    with FolderOutput(out, detector, source.name, **options) as output:
        return run(detector, source, output)


def test_a_folder_gets_rows_overlays_and_a_report(detector, grey_folder, tmp_path):
    images = grey_folder(levels=(51, 204))
    (images / "broken.png").write_text("x")
    folder_run(detector, FolderSource(images), tmp_path / "out")
    rows = list(read_results(tmp_path / "out" / "results.jsonl"))
    assert [(r.image, r.verdict) for r in rows] == [
        ("broken.png", "NO_RESULT"),
        ("grey051.png", "OK"),
        ("grey204.png", "NG"),
    ]
    assert [r.map for r in rows] == [
        None,
        "overlays/000001_grey051.jpg",
        "overlays/000002_grey204.jpg",
    ]
    for row in rows[1:]:
        assert (tmp_path / "out" / row.map).read_bytes().startswith(b"\xff\xd8")
    assert "broken.png" in (tmp_path / "out" / "report.html").read_text()
    left = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert left == ["overlays", "report.html", "results.jsonl"]


@pytest.mark.parametrize(
    ("save_every", "saved"), [(1, [0, 1, 2, 3, 4, 5]), (3, [0, 1, 3]), (0, [1])]
)
def test_overlays_are_saved_in_turn_and_for_each_ng(detector, tmp_path, save_every, saved):
    frames = [grey(204 if i == 1 else 51) for i in range(6)]
    folder_run(detector, ListSource(frames), tmp_path / "out", save_every=save_every)
    rows = read_results(tmp_path / "out" / "results.jsonl")
    assert [r.seq for r in rows if r.map is not None] == saved
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == len(saved)


def test_names_are_made_safe_for_every_file_system(detector, grey_folder, tmp_path):
    images = grey_folder(levels=(51,))
    (images / "grey051.png").rename(images / ("ü" * 90 + " a:b?.png"))
    folder_run(detector, FolderSource(images), tmp_path / "out")
    (row,) = read_results(tmp_path / "out" / "results.jsonl")
    assert row.map == "overlays/000000_" + "ü" * 48 + ".jpg"
    assert (tmp_path / "out" / row.map).is_file()


def test_an_earlier_run_is_replaced_and_nothing_else(detector, tmp_path):
    out = tmp_path / "out"
    folder_run(detector, ListSource([grey(1), grey(2)]), out)
    (out / "notes.txt").write_text("mine")
    (out / "overlays" / "mine.jpg").write_text("mine")
    folder_run(detector, ListSource([grey(3)]), out)
    assert sorted(p.name for p in (out / "overlays").iterdir()) == ["000000_0.jpg", "mine.jpg"]
    assert (out / "notes.txt").exists()
    assert len(list(read_results(out / "results.jsonl"))) == 1


def test_a_source_that_never_gives_a_frame_leaves_the_folder_as_it_was(detector, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="no route"):
        folder_run(detector, ListSource([], failure="no route to camera"), out)
    assert not out.exists()
    folder_run(detector, ListSource([grey(1)]), out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="no route"):
        folder_run(detector, ListSource([], failure="no route to camera"), out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_that_would_lose_something_is_refused(make_artifact, tmp_path):
    (tmp_path / "out").mkdir()
    check_folder(tmp_path / "out", overwrite=False)
    (tmp_path / "out" / "results.jsonl").write_text("")
    with pytest.raises(InputError, match=r"holds the results of an earlier run: .* --overwrite"):
        check_folder(tmp_path / "out", overwrite=False)
    check_folder(tmp_path / "out", overwrite=True)
    with pytest.raises(InputError, match="is an artifact"):
        check_folder(make_artifact(), overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is not a folder"):
        check_folder(tmp_path / "file", overwrite=True)


def test_rows_are_plain_json(detector, tmp_path):
    folder_run(detector, ListSource([grey(51)]), tmp_path / "out")
    data = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert set(data["latency_ms"]) == {"preprocess", "infer", "post", "total"}
    assert (data["schema"], data["source"], data["verdict"]) == (1, "list", "OK")

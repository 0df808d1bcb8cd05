import re
from collections import Counter
from datetime import datetime, timezone

import numpy as np
import pytest
from html_page import Page

from zsad.artifact import Artifact
from zsad.inspection.config import WHOLE_FRAME, Inspection, Roi, Tiles
from zsad.recipe import Bound, Calibration, TypeThreshold
from zsad.report import Card, Gallery, RunRecord, make_card, render_report
from zsad.report.histogram import histogram_svg
from zsad.report.page import MAX_ROWS
from zsad.results import ResultRow
from zsad.summary import RunSummary
from zsad.types import AnomalyResult


def row(seq=0, score=0.5, verdict="OK", image="a.png", reason=None, **values):
    return ResultRow(seq, "parts", image, score, None, verdict, "a", "g", reason=reason, **values)


def card(seq, score):
    return Card(row(seq, score), b"frame", b"heat")


class TestGallery:
    def kept(self, scores, **sizes):
        gallery = Gallery(**sizes)
        made = []
        for seq, score in enumerate(scores):

            def make(seq=seq, score=score):
                made.append(seq)
                return card(seq, score)

            gallery.offer(row(seq, score), make)
        return [c.row.score for c in gallery.cards()], made

    def test_few_frames_are_all_kept_the_highest_first(self):
        scores, _ = self.kept([0.2, 0.9, 0.5], highest=2, sampled=5)
        assert scores == [0.9, 0.5, 0.2]

    def test_the_highest_are_kept_wherever_they_come(self):
        values = [0.01 * i for i in range(50)]
        for order in (values, values[::-1]):
            scores, _ = self.kept(order, highest=4, sampled=3)
            assert scores[:4] == sorted(values, reverse=True)[:4]
            assert len(scores) == len(set(scores)) == 7

    def test_a_picture_is_made_only_for_a_frame_that_is_kept(self):
        _, made = self.kept([1.0] * 3 + [0.1] * 2000, highest=3, sampled=2)
        assert len(made) < 60

    def test_the_rest_is_sampled_evenly(self):
        hits = Counter()
        for seed in range(300):
            gallery = Gallery(highest=1, sampled=2, seed=seed)
            for seq in range(11):
                score = 0.9 if seq == 0 else 0.1
                gallery.offer(row(seq, score), lambda seq=seq, score=score: card(seq, score))
            hits.update(c.row.seq for c in gallery.cards()[1:])
        assert set(hits) == set(range(1, 11))
        assert max(hits.values()) - min(hits.values()) < 50  # 60 expected each

    def test_a_frame_without_score_comes_last(self):
        scores, _ = self.kept([None, 0.1], highest=5, sampled=1)
        assert scores == [0.1, None]

    def test_thumbnails_are_bounded_and_keep_the_aspect(self):
        import cv2

        frame = np.zeros((1000, 4000, 3), np.uint8)
        made = make_card(row(), frame, AnomalyResult(0.5, np.zeros((4, 4), np.float32)), "graph")
        image = cv2.imdecode(np.frombuffer(made.heat_jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (80, 320, 3)


class TestHistogram:
    def bars(self, svg):
        found = re.findall(r'class="bar (\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
        return [(name, float(x), float(x) + float(width)) for name, x, width in found]

    @pytest.mark.parametrize("threshold", [0.123, 0.382, 0.77])
    def test_no_bar_straddles_the_threshold(self, threshold):
        rng = np.random.default_rng(0)
        scores = rng.random(300)
        groups = {
            "OK": scores[scores <= threshold].tolist(),
            "NG": scores[scores > threshold].tolist(),
        }
        svg = histogram_svg(groups, threshold)
        line = float(re.search(r'class="threshold" x1="([\d.]+)"', svg)[1])
        bars = self.bars(svg)
        assert all(right <= line for name, _, right in bars if name == "OK")
        assert all(left >= line for name, left, _ in bars if name == "NG")
        assert {name for name, _, _ in bars} == {"OK", "NG"}

    @pytest.mark.parametrize("scores", [[0.5], [0.5] * 9, [0.0, 1.0], [1.0], [0.0], [1e-9, 2e-9]])
    @pytest.mark.parametrize("threshold", [None, 0.5, 0.0, 1.0])
    def test_every_score_falls_into_a_bar(self, scores, threshold):
        svg = histogram_svg({"OK": scores}, threshold)
        assert "nan" not in svg
        assert f"Histogram of {len(scores)} scores" in svg
        assert 1 <= len(self.bars(svg)) <= len(set(scores))

    def test_no_score_is_said(self):
        assert "No frame has a score" in histogram_svg({}, 0.5)


@pytest.fixture
def record(make_artifact):
    path = make_artifact()

    def make(rows, calibration=None, **values):
        summary = RunSummary(captured=len(rows))
        for each in rows:
            summary.add(each)
        fields = {
            "artifact": Artifact.open(path),
            "precision": "fp32",
            "provider": "CPUExecutionProvider",
            "score_kind": "graph",
            "calibration": calibration,
            "inspection": WHOLE_FRAME,
            "source": "parts",
            "started": datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc),
            "summary": summary,
        }
        return RunRecord(**{**fields, **values})

    return make


NASTY = "<script>alert('1')</script>\"onerror=x&.png"


def test_names_from_outside_are_escaped(record):
    rows = [
        row(0, 0.7, "NG", NASTY, map=f"overlays/{NASTY}.jpg"),
        row(1, None, "NO_RESULT", NASTY, reason=f"{NASTY} is bad"),
    ]
    page = Page(render_report(record(rows, source=NASTY), rows, [Card(rows[0], b"x", b"y")]))
    assert page.tags["script"] == 0
    assert page.tags["b"] == 2  # the two counts
    text = "".join(page.text)
    assert f"{NASTY} is bad" in text
    assert f"Anomaly report: {NASTY.rsplit('/', 1)[1]}" in text


def test_the_report_needs_nothing_beside_itself(record):
    rows = [row(i, 0.1 * i) for i in range(5)]
    page = Page(render_report(record(rows), rows, [Card(r, b"frame", b"heat") for r in rows]))
    assert page.tags["img"] == 10
    page.assert_needs_nothing_beside_itself()


def test_the_report_tells_the_decision_and_its_bound(record):
    rows = [row(0, 0.7, "NG"), row(1, 0.2, "OK")]
    calibration = Calibration("g", "map_max", 0.4321, Bound(0.05, 0.95, 59), (0.1,))
    text = render_report(record(rows, calibration, score_kind="map_max"), rows, [])
    assert "0.432100" in text
    assert "at most 5.00% of good parts rejected, with 95% confidence, from 59 good" in text
    assert "the maximum of the anomaly map" in text
    assert "zsad-calibrate" not in text


def test_the_report_tells_region_tiles_and_types(record):
    rows = [row(0, 0.7, "NG")]
    plain = render_report(record(rows), rows, [])
    assert "the whole frame" in plain
    corner = ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1))
    inspection = Inspection(Roi(ignore=(corner,)), Tiles(480, 640, 96), (960, 1280))
    types = (TypeThreshold("rust & dirt", 0.123456),)
    calibration = Calibration("g", "map_max", 0.4, Bound(0.05, 0.95, 59), (0.1,), types=types)
    text = render_report(record(rows, calibration, inspection=inspection), rows, [])
    assert (
        "the frame but for 1 ignored polygons, in tiles of 480 x 640 px that overlap by 96 px"
        in text
    )
    assert "Threshold of rust &amp; dirt" in text
    assert "0.123456" in text


@pytest.mark.parametrize(
    ("kind", "level", "middle"),
    [("map_max", None, "0.4"), ("graph", 0.0021, "0.0021"), ("graph", None, "0.5")],
)
def test_the_legend_names_the_middle_of_the_colours(record, kind, level, middle):
    rows = [row(0, 0.7, "NG")]
    calibration = Calibration("g", kind, 0.4, Bound(0.05, 0.95, 59), (0.1,), good_map_level=level)
    text = render_report(record(rows, calibration, score_kind=kind), rows, [card(0, 0.7)])
    assert f"<span>0</span><span>{middle}</span><span>1</span>" in text


def test_an_uncalibrated_report_says_how_to_calibrate(record):
    rows = [row(0, 0.7, "UNCALIBRATED")]
    text = render_report(record(rows), rows, [])
    assert "zsad-calibrate ARTIFACT --good DIR --recipe part.json" in text


def test_frames_without_a_result_are_listed_with_their_reason(record):
    rows = [row(0), row(1, None, "NO_RESULT", "bad.png", "bad.png is empty")]
    text = "".join(Page(render_report(record(rows), rows, [])).text)
    assert "1 without a result" in text
    assert "bad.png is empty" in text


def test_the_report_says_whether_all_frames_are_shown(record):
    rows = [row(0, 0.7), row(1, 0.2), row(2, None, "NO_RESULT", reason="bad")]
    cards = [Card(r, b"x", b"y") for r in rows[:2]]
    assert "<h2>2 of 2 frames</h2>" in render_report(record(rows), rows, cards)
    some = render_report(record(rows, source="other"), rows, cards[:1])
    assert "<h2>1 of 2 frames: the highest scores and a random sample of the rest</h2>" in some


def test_rows_are_sorted_by_score_and_their_number_is_bounded(record):
    rows = [row(i, i / (MAX_ROWS + 5), image=f"i{i:04d}") for i in range(MAX_ROWS + 5)]
    text = render_report(record(rows), rows, [])
    names = re.findall(r"<td>(i\d{4})</td>", text)
    assert names == [r.image for r in rows[::-1]][:MAX_ROWS]
    assert "5 more are in results.jsonl" in text


def test_a_named_defect_type_stands_beside_the_verdict(record):
    named = row(verdict="NG", defect="<b>oil</b> stain", defect_confidence=0.755)
    page = render_report(record([named]), [named], [])
    assert "NG</span> &lt;b&gt;oil&lt;/b&gt; stain 76%" in page
    assert "<b>oil" not in page

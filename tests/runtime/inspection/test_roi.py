import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from zsad import Detector, Verdict
from zsad.errors import InputError
from zsad.inspection.config import Inspection, Roi
from zsad.inspection.roi import rasterise, read_roi
from zsad.overlay import draw_heat

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
TOP_LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))


def test_a_half_and_a_quarter_cover_the_pixels_known_by_hand():
    expected = np.zeros((8, 12), bool)
    expected[:, :6] = True
    np.testing.assert_array_equal(rasterise(Roi((LEFT,)), 8, 12), expected)
    expected[:4, :6] = False
    np.testing.assert_array_equal(rasterise(Roi((LEFT,), (TOP_LEFT,)), 8, 12), expected)
    np.testing.assert_array_equal(
        rasterise(Roi(ignore=(LEFT,)), 8, 12)[0], [False] * 6 + [True] * 6
    )


def test_polygons_are_joined_and_the_whole_frame_is_covered():
    right = tuple((1 - x, y) for x, y in LEFT)
    assert rasterise(Roi((LEFT, right)), 7, 9).all()


def test_neighbours_share_no_pixel_and_leave_none():
    # A corner of the shared border lies on a row of pixel centres.
    zigzag = [(0.5, 0.0), (0.3, 0.25), (0.7, 0.5), (0.5, 1.0)]
    left = ((0.0, 0.0), *zigzag, (0.0, 1.0))
    right = ((1.0, 0.0), *zigzag, (1.0, 1.0))
    one, other = rasterise(Roi((left,)), 10, 15), rasterise(Roi((right,)), 10, 15)
    np.testing.assert_array_equal(one, ~other)


def test_a_polygon_agrees_with_the_distance_that_opencv_measures():
    rng = np.random.default_rng(4)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        radii = rng.uniform(0.1, 0.5, 7)
        points = np.stack([0.5 + radii * np.cos(angles), 0.5 + radii * np.sin(angles)], axis=1)
        found = rasterise(Roi((tuple(map(tuple, points)),)), 30, 40)
        contour = (points * (40, 30)).astype(np.float32)
        for row in range(30):
            for column in range(40):
                centre = (column + 0.5, row + 0.5)
                inside = cv2.pointPolygonTest(contour, centre, measureDist=True)
                if abs(inside) > 1e-3:
                    assert found[row, column] == (inside > 0)


def test_a_region_survives_a_change_of_resolution():
    small, large = (
        rasterise(Roi((LEFT,), (TOP_LEFT,)), 8, 12),
        rasterise(Roi((LEFT,), (TOP_LEFT,)), 16, 24),
    )
    np.testing.assert_array_equal(large, small.repeat(2, axis=0).repeat(2, axis=1))


def test_a_region_without_a_pixel_is_refused():
    with pytest.raises(InputError, match="leaves no pixel of a map of 12x8"):
        rasterise(Roi(ignore=(((0, 0), (1, 0), (1, 1), (0, 1)),)), 8, 12)


class TestFile:
    def write(self, tmp_path, **content):
        path = tmp_path / "roi.json"
        path.write_text(json.dumps(content))
        return path

    def test_pixels_become_shares_of_the_picture_they_were_drawn_on(self, tmp_path):
        pixels = [[0, 0], [200, 0], [200, 300], [0, 300]]
        path = self.write(tmp_path, include=[pixels], size_px=[400, 300])
        assert read_roi(path) == Roi((LEFT,))

    def test_shares_stay_as_they_are(self, tmp_path):
        assert read_roi(self.write(tmp_path, ignore=[LEFT])) == Roi(ignore=(LEFT,))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({}, "no polygon"),
            ({"include": [[[0, 0], [1, 1]]]}, "a polygon of 2 points"),
            ({"include": [[[0, 0], [200, 0], [0, 300]]]}, r"need \"size_px\""),
            (
                {"include": [[[0, 0], [9, 0], [0, 3]]], "size_px": [8, 8]},
                r"\(1.125, 0\) is outside",
            ),
            ({"include": [[[0, 0], [9, 0], [0, 3]]], "size_px": [0, 8]}, "no size of a picture"),
            ({"includes": []}, "unknown key 'includes'"),
        ],
    )
    def test_what_is_no_region_is_refused_in_a_line(self, tmp_path, content, message):
        path = self.write(tmp_path, **content)
        with pytest.raises(InputError, match=message) as caught:
            read_roi(path)
        assert str(path) in str(caught.value)


class TestDetector:
    INSPECTION = Inspection(Roi((LEFT,)), frame_hw=(8, 12))

    def frame(self, row, column):
        pixels = np.zeros((8, 12, 3), np.uint8)
        pixels[row, column] = 255
        return pixels

    def test_only_the_region_is_scored(self, make_artifact, make_recipe):
        path = make_artifact()
        recipe = make_recipe(path, 0.5, score_kind="map_max", inspection=self.INSPECTION)
        with Detector.load(path, recipe) as detector:
            inside, outside = (detector.predict(self.frame(3, at)) for at in (5, 6))
        assert (inside.score, inside.verdict) == (1.0, Verdict.NG)
        assert (outside.score, outside.verdict) == (0.0, Verdict.OK)
        assert outside.anomaly_map[3, 6] == 1.0  # the map is whole
        np.testing.assert_array_equal(outside.roi, rasterise(Roi((LEFT,)), 8, 12))

    def test_the_region_follows_a_camera_to_another_resolution(self, make_artifact, make_recipe):
        path = make_artifact()
        recipe = make_recipe(path, 0.5, score_kind="map_max", inspection=self.INSPECTION)
        large = np.zeros((80, 120, 3), np.uint8)
        large[20:30, 40:50] = 255
        with Detector.load(path, recipe) as detector:
            assert detector.predict(large).verdict is Verdict.NG
            narrow = detector.predict(large[:, :90])
        assert narrow.verdict is Verdict.NO_RESULT
        assert "the frame is 90x80, the recipe's good parts with a region are 12x8" in narrow.reason

    def test_a_region_that_was_not_calibrated_gives_no_result(self, make_artifact, make_recipe):
        path = make_artifact()
        recipe = make_recipe(path, 0.5, score_kind="map_max", inspection=self.INSPECTION)
        other = Roi(ignore=(TOP_LEFT,))
        with Detector.load(path, replace(recipe, roi=other)) as detector:
            result = detector.predict(self.frame(3, 5))
        assert result.verdict is Verdict.NO_RESULT
        assert "calibrated for another region or other tiles than it has now" in result.reason

    def test_without_a_recipe_a_region_is_scored_by_the_map(self, make_artifact):
        with Detector.load(make_artifact()) as loaded:
            detector = Detector(loaded.artifact, loaded.backend, inspection=self.INSPECTION)
            assert detector.predict(self.frame(0, 0)).score == 1.0
            assert detector.predict(self.frame(0, 11)).score == 0.0
            assert detector.predict(self.frame(0, 0)).verdict is Verdict.UNCALIBRATED

    def test_no_heat_and_no_contour_lie_outside(self, make_artifact, make_recipe):
        path = make_artifact()
        recipe = make_recipe(path, 0.5, score_kind="map_max", inspection=self.INSPECTION)
        frame = np.zeros((80, 120, 3), np.uint8)
        frame[20:30, 20:30] = frame[20:30, 90:100] = 255
        with Detector.load(path, recipe) as detector:
            picture = draw_heat(frame, detector.predict(frame), "map_max")
        changed = (picture != frame).any(axis=2)
        assert changed[20:30, 20:30].any()
        assert not changed[:, 62:].any()
        assert changed[50, 58:62].any()  # the border of the region

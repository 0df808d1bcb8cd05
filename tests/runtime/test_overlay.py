from dataclasses import replace

import numpy as np
import pytest

from zsad.overlay import caption_text, colour_position, draw_heat, draw_overlay, scale_rgba
from zsad.types import AnomalyResult, DefectType, Verdict

GREY = np.full((60, 80, 3), 120, np.uint8)


def result(anomaly_map, verdict=Verdict.UNCALIBRATED, threshold=None, score=0.5):
    return AnomalyResult(score, anomaly_map.astype(np.float32), verdict, None, threshold)


def hot_square():
    anomaly_map = np.zeros((30, 40))
    anomaly_map[10:20, 10:20] = 0.9
    return anomaly_map


def test_a_map_of_zeros_leaves_the_frame_as_it_is():
    np.testing.assert_array_equal(draw_heat(GREY, result(np.zeros((30, 40)))), GREY)


def test_a_faint_map_is_not_stretched_to_its_own_maximum():
    faint = draw_heat(GREY, result(hot_square() * 0.05)).astype(int)
    strong = draw_heat(GREY, result(hot_square())).astype(int)
    assert np.abs(faint - GREY).max() < 10
    assert np.abs(strong - GREY).max() > 50


def test_the_same_value_has_the_same_colour_in_every_picture():
    alone = draw_heat(GREY, result(np.full((30, 40), 0.4)))
    beside = np.full((30, 40), 0.4)
    beside[0, 0] = 1.0
    assert (draw_heat(GREY, result(beside))[40, 60] == alone[40, 60]).all()


def test_the_heat_lies_where_the_map_is_high():
    changed = np.abs(draw_heat(GREY, result(hot_square())).astype(int) - GREY).sum(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert 17 <= rows.min() <= 21
    assert 38 <= rows.max() <= 42
    assert 17 <= columns.min() <= 21
    assert 38 <= columns.max() <= 42


def test_odds_are_divided_by_those_of_the_level():
    anomaly_map = np.float32([[0.0, 0.1, 0.2, 0.5, 1.0]])
    expected = [[0, 4 / 13, 0.5, 0.8, 1]]  # at 0.1 the odds are 1/9, of the level's 1/4 4/9
    np.testing.assert_allclose(colour_position(anomaly_map, 0.2), expected, atol=1e-6)
    np.testing.assert_allclose(colour_position(anomaly_map, 0.5), anomaly_map, atol=1e-6)
    np.testing.assert_array_equal(colour_position(anomaly_map, None), anomaly_map)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_level_at_the_end_of_the_scale_leaves_finite_colours(level):
    position = colour_position(np.float32([[0.0, 0.5, 1.0]]), level)
    assert np.isfinite(position).all() and position[0, 0] == 0 and position[0, 2] == 1


def test_a_low_map_shows_against_the_level_of_good_parts():
    low = replace(result(hot_square() * 0.02), map_level=0.002)
    changed = np.abs(draw_heat(GREY, low).astype(int) - GREY).sum(axis=2)
    assert changed[30, 30] > 60 and changed[50, 70] == 0


def white_pixels(picture):
    return int((picture == 255).all(axis=2).sum())


@pytest.mark.parametrize(
    ("kind", "threshold", "drawn"),
    [("map_max", 0.5, True), ("map_top1pct", 0.5, True), ("map_max", 0.95, False)],
)
def test_a_contour_encloses_what_is_above_the_threshold_of_a_map(kind, threshold, drawn):
    picture = draw_heat(GREY, result(hot_square(), Verdict.NG, threshold), kind)
    assert (white_pixels(picture) > 0) == drawn


def test_a_threshold_of_the_graphs_own_score_draws_no_contour():
    assert white_pixels(draw_heat(GREY, result(hot_square(), Verdict.NG, 0.5), "graph")) == 0


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 9), (64, 64), (300, 300), (1080, 1920), (999, 90)])
def test_the_caption_lies_below_the_frame_and_is_legible(size_hw):
    frame = np.zeros((*size_hw, 3), np.uint8)
    picture = draw_overlay(frame, result(np.zeros((8, 8)), Verdict.NG, 0.25, 0.75))
    factor = -(-240 // size_hw[1])
    height, width = size_hw[0] * factor, size_hw[1] * factor
    assert picture.shape[1] == width >= 240
    assert not picture[:height].any()
    caption = picture[height:]
    assert 20 <= caption.shape[0] <= 80
    ink = (caption > 200).all(axis=2)
    assert ink.sum() > 60
    assert not ink[:, -2:].any()


def test_the_caption_tells_how_the_score_compares():
    anomaly_map = np.zeros((2, 2))
    assert caption_text(result(anomaly_map, Verdict.NG, 0.25, 0.75)) == "NG  score 0.750 > 0.250"
    assert caption_text(result(anomaly_map, Verdict.OK, 0.25, 0.25)) == "OK  score 0.250 <= 0.250"
    assert caption_text(result(anomaly_map)) == "UNCALIBRATED  score 0.500"
    nothing = result(anomaly_map, Verdict.NO_RESULT, score=float("nan"))
    assert caption_text(nothing) == "NO RESULT  no score"


def test_a_map_that_is_no_number_can_still_be_drawn():
    assert draw_overlay(GREY, result(np.full((4, 4), np.nan), Verdict.NO_RESULT)).any()


def test_the_legend_is_the_scale_that_is_drawn():
    red, green, blue, opacity = scale_rgba(3)[2]
    black = np.zeros((1, 1, 3), np.uint8)
    drawn = draw_heat(black, result(np.ones((1, 1))))[0, 0]
    np.testing.assert_allclose(drawn[::-1], np.array([red, green, blue]) * opacity, atol=1)
    assert scale_rgba(3)[0][3] == 0


def test_the_frame_is_not_changed():
    frame = GREY.copy()
    draw_overlay(frame, result(hot_square(), Verdict.NG, 0.5), "map_max")
    np.testing.assert_array_equal(frame, GREY)


class TestNamedDefect:
    @pytest.fixture
    def named(self):
        maps = np.zeros((2, 30, 40), np.float32)
        maps[0, 5, 5], maps[1, 20, 30] = 0.3, 0.9
        scores = maps.max(axis=(1, 2))
        plain = replace(result(np.zeros((30, 40))), type_map=maps, type_score=scores)
        return replace(plain, defect=DefectType("rust", 0.75, 1))

    def test_the_caption_says_the_type_and_its_share(self, named):
        assert caption_text(named) == "UNCALIBRATED  score 0.500  rust 75%"
        decided = replace(named, verdict=Verdict.NG, threshold=0.25)
        assert caption_text(decided) == "NG  score 0.500 > 0.250  rust 75%"
        assert caption_text(replace(named, defect=None)) == "UNCALIBRATED  score 0.500"

    def test_a_ring_lies_around_the_highest_place_of_that_type(self, named):
        large = np.full((300, 400, 3), 120, np.uint8)
        changed = (draw_overlay(large, named)[:300] != large).any(axis=2)
        rows, columns = np.nonzero(changed)
        assert abs(rows.mean() - 205) < 2 and abs(columns.mean() - 305) < 2
        assert not changed[205, 305]  # what it points at stays visible

    def test_without_a_named_type_nothing_is_marked(self, named):
        large = np.full((300, 400, 3), 120, np.uint8)
        plain = draw_overlay(large, replace(named, defect=None))
        np.testing.assert_array_equal(plain[:300], large)

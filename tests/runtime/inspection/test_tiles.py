import itertools

import numpy as np
import pytest

from zsad import Detector, Verdict
from zsad.errors import InputError
from zsad.inspection.config import Inspection, Roi, Tiles
from zsad.inspection.tiles import TILES_AT_ONCE, Blend, crop, lay_out

MAP_HW = (8, 12)


def total_weight(spans):
    total = np.zeros(spans[-1].canvas.stop)
    for span in spans:
        total[span.canvas] += span.weights
    return total


@pytest.mark.parametrize("length", [5, 12, 13, 19, 24, 31, 100, 487])
@pytest.mark.parametrize("overlap", [0, 1, 3, 6])
def test_tiles_cover_a_frame_with_the_overlap_and_their_weights_add_up(length, overlap):
    layout = lay_out(Tiles(8, 12, min(overlap, 4)), (8, length), (8, 24))
    spans = layout.columns
    assert (spans[0].start_px, spans[-1].frame.stop) == (0, length)
    for one, following in itertools.pairwise(spans):
        assert one.frame.stop - following.start_px >= min(overlap, 4)
    np.testing.assert_allclose(total_weight(spans), 1, atol=1e-6)
    if length > 12:
        fewer = 12 + (len(spans) - 2) * (12 - min(overlap, 4))
        assert fewer < length  # one tile less would not reach


def test_weights_add_up_where_three_tiles_meet():
    spans = lay_out(Tiles(10, 10, 5), (10, 16), (8, 10)).columns
    assert [span.start_px for span in spans] == [0, 3, 6]
    np.testing.assert_allclose(total_weight(spans), 1, atol=1e-6)


def test_a_tile_says_nothing_at_a_border_that_another_sees_past():
    one, other = lay_out(Tiles(20, 20, 8), (20, 32), (20, 20)).columns
    assert one.weights[:12].tolist() == [1.0] * 12
    assert one.weights[-1] < 0.02 and other.weights[0] < 0.02


class Seen:
    """A backend that notes the batches, and says the mean of the channels in the map."""

    precision, provider, name, inputs, outputs = "fp32", "fake", "cpu", (), ()

    def __init__(self, bad_tile=None):
        self.batches, self.bad_tile, self.seen = [], bad_tile, 0

    def infer(self, feeds):
        images = feeds["image"].astype(np.float32)
        self.batches.append(len(images))
        maps = images.mean(axis=3) / 255
        if self.bad_tile is not None and self.seen <= self.bad_tile < self.seen + len(maps):
            maps[self.bad_tile - self.seen, 0, 0] = np.nan
        self.seen += len(maps)
        return {"score": maps.mean(axis=(1, 2)), "anomaly_map": maps}

    def close(self):
        pass


def tiled(make_artifact, backend, tiles, **region):
    with Detector.load(make_artifact()) as loaded:
        return Detector(loaded.artifact, backend, inspection=Inspection(tiles=tiles, **region))


def test_one_tile_is_the_frame_itself(make_artifact):
    frame = np.random.default_rng(1).integers(0, 256, (31, 47, 3), np.uint8)
    with Detector.load(make_artifact()) as plain:
        expected = plain.predict(frame)
        for size in ((31, 47), (500, 500)):
            inspection = Inspection(tiles=Tiles(*size, 10))
            found = Detector(plain.artifact, plain.backend, inspection=inspection).predict(frame)
            np.testing.assert_array_equal(found.anomaly_map, expected.anomaly_map)
            assert found.score == expected.anomaly_map.max()


def test_tiles_at_the_graphs_own_size_give_the_frame_back(make_artifact):
    # Nothing is resized, so every pixel of the map is known: the mean of the channels.
    frame = np.random.default_rng(2).integers(0, 256, (29, 50, 3), np.uint8)
    with Detector.load(make_artifact()) as plain:
        inspection = Inspection(tiles=Tiles(8, 12, 3))
        found = Detector(plain.artifact, plain.backend, inspection=inspection).predict(frame)
    np.testing.assert_allclose(found.anomaly_map, frame.mean(axis=2) / 255, atol=1e-6)


def test_a_defect_scores_on_a_seam_as_in_the_middle(make_artifact):
    """The tolerance is 0.5 %, wherever a defect lies on tiles that are shrunk by two.

    Shrinking itself gives a square another peak at odd pixels than at even ones, in the middle of a
    tile too, so that positions are compared with those of the same parity.
    """
    detector = tiled(make_artifact, Seen(), Tiles(16, 24, 8))
    scores = {}
    for row in range(28):
        for column in range(0, 48, 5):
            frame = np.full((40, 60, 3), 20, np.uint8)
            frame[row : row + 12, column : column + 12] = 200
            parity = (row % 2, column % 2)
            scores.setdefault(parity, []).append(detector.predict(frame).score)
    for found in scores.values():
        assert len(found) > 60
        assert max(found) / min(found) < 1.005


class HalfBlind(Seen):
    """Sees nothing within two pixels of its own border, as a network with context may."""

    def infer(self, feeds):
        outputs = super().infer(feeds)
        inner = np.zeros_like(outputs["anomaly_map"])
        inner[:, 2:-2, 2:-2] = outputs["anomaly_map"][:, 2:-2, 2:-2]
        return {**outputs, "anomaly_map": inner}


@pytest.mark.parametrize(("overlap", "least"), [(12, 0.7), (0, 0.0)])
def test_overlap_is_what_saves_a_defect_on_a_seam(make_artifact, overlap, least):
    # Columns 23 and 24 are where two tiles of 24 meet without overlap.
    detector = tiled(make_artifact, HalfBlind(), Tiles(24, 24, overlap))
    frame = np.zeros((24, 48, 3), np.uint8)
    frame[8:16, 22:26] = 255
    middle = np.roll(frame, -12, axis=1)
    seam, inside = detector.predict(frame).score, detector.predict(middle).score
    assert inside > 0.5
    assert (seam / inside >= least) if overlap else (seam < 0.2 * inside)


def test_tiles_go_through_the_graph_a_few_at_a_time(make_artifact):
    backend = Seen()
    detector = tiled(make_artifact, backend, Tiles(8, 12, 0))
    results = detector.predict_batch([np.zeros((24, 36, 3), np.uint8)] * 2)
    assert backend.batches == [4, 4, 1] * 2
    assert max(backend.batches) <= TILES_AT_ONCE
    assert [result.anomaly_map.shape for result in results] == [(24, 36)] * 2
    latency_ms = results[0].latency_ms
    stages = sum(latency_ms[name] for name in ("preprocess", "infer", "post"))
    assert latency_ms["total"] == pytest.approx(stages)


def test_one_bad_tile_gives_no_result(make_artifact):
    detector = tiled(make_artifact, Seen(bad_tile=5), Tiles(8, 12, 0))
    assert detector.predict(np.zeros((24, 36, 3), np.uint8)).verdict is Verdict.NO_RESULT


def test_a_blended_map_beyond_the_memory_is_refused():
    layout = lay_out(Tiles(8, 8, 0), (6000, 8000), (64, 64))
    with pytest.raises(InputError, match=r"48000x64000.*use larger tiles"):
        Blend(layout).add([], {"anomaly_map": np.zeros((0, 64, 64), np.float32)})


def test_a_tile_is_a_view_of_the_frame():
    frame = np.zeros((24, 36, 3), np.uint8)
    (first, *_) = lay_out(Tiles(8, 12, 0), (24, 36), MAP_HW).batches()
    assert all(crop(frame, tile).base is frame for tile in first)


class TestRecipe:
    INSPECTION = Inspection(tiles=Tiles(8, 12, 4), frame_hw=(24, 36))

    def frame(self, hot=255):
        pixels = np.zeros((24, 36, 3), np.uint8)
        pixels[20, 30] = hot
        return pixels

    def test_a_recipe_decides_on_the_whole_frame(self, make_artifact, make_recipe):
        path = make_artifact()
        recipe = make_recipe(path, 0.5, score_kind="map_max", inspection=self.INSPECTION)
        with Detector.load(path, recipe) as detector:
            detector.warm_up()
            verdicts = [detector.predict(self.frame(hot)).verdict for hot in (100, 200)]
        assert verdicts == [Verdict.OK, Verdict.NG]

    def test_a_frame_of_another_size_gives_no_result(self, make_artifact, make_recipe):
        path = make_artifact()
        recipe = make_recipe(path, 0.5, score_kind="map_max", inspection=self.INSPECTION)
        with Detector.load(path, recipe) as detector:
            result = detector.predict(np.zeros((48, 72, 3), np.uint8))
        assert result.verdict is Verdict.NO_RESULT
        assert "the frame is 72x48, the recipe's good parts with tiles are 36x24" in result.reason

    def test_a_region_lies_over_the_blended_map(self, make_artifact, make_recipe):
        path = make_artifact()
        left = Roi((((0, 0), (0.5, 0), (0.5, 1), (0, 1)),))
        inspection = Inspection(left, self.INSPECTION.tiles, (24, 36))
        recipe = make_recipe(path, 0.5, score_kind="map_max", inspection=inspection)
        with Detector.load(path, recipe) as detector:
            outside, inside = (detector.predict(f) for f in (self.frame(), self.frame()[:, ::-1]))
        assert (outside.verdict, inside.verdict) == (Verdict.OK, Verdict.NG)
        assert outside.roi.shape == outside.anomaly_map.shape == (24, 36)


def test_types_are_read_from_their_blended_maps(make_typed_artifact):
    path = make_typed_artifact()
    frame = np.zeros((24, 36, 3), np.uint8)
    frame[20, 30] = 255
    with Detector.load(path) as plain:
        inspection = Inspection(tiles=Tiles(8, 12, 4))
        detector = Detector(plain.artifact, plain.backend, inspection=inspection)
        found = detector.predict(frame)
    assert found.type_map.shape == (2, 24, 36)
    np.testing.assert_allclose(found.type_score, [5 / 12, 5 / 12], atol=1e-6)

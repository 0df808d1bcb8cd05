import numpy as np
import pytest

from zsad.golden import GoldenOutputs
from zsad.parity import LIMITS, ParityLimits, compare

NAMES = ("first", "second")
WIDE = ParityLimits(score_max_abs=0.1, map_max_abs=0.01, map_correlation=0.999)


@pytest.fixture
def reference():
    ramp = np.linspace(0, 0.5, 12, dtype=np.float32).reshape(3, 4)
    flat = np.full((3, 4), 0.25, dtype=np.float32)
    return GoldenOutputs(np.array([0.2, 0.8], dtype=np.float32), np.stack([ramp, flat]))


def moved(reference, frame, score=0.0, anomaly_map=0.0):
    scores, maps = reference.scores.copy(), reference.anomaly_maps.copy()
    scores[frame] += score
    maps[frame] += anomaly_map
    return GoldenOutputs(scores, maps)


def test_equal_outputs_pass(reference):
    parity = compare(NAMES, reference, reference, WIDE)
    assert parity.passed
    assert [frame.score_abs for frame in parity.frames] == [0, 0]
    assert parity.correlation == pytest.approx(1)


def test_differences_are_the_largest_and_the_mean(reference):
    offset = np.zeros((3, 4), dtype=np.float32)
    offset[1, 2] = -0.006
    frame = compare(NAMES, reference, moved(reference, 1, anomaly_map=offset), WIDE).frames[1]
    assert frame.map_max_abs == pytest.approx(0.006, rel=1e-4)
    assert frame.map_mean_abs == pytest.approx(0.0005, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({"score": 0.09}, True),
        ({"score": -0.11}, False),
        ({"anomaly_map": 0.009}, True),
        ({"anomaly_map": -0.011}, False),
        ({"score": np.nan}, False),
        ({"anomaly_map": np.nan}, False),
        ({"score": np.inf}, False),
    ],
)
@pytest.mark.parametrize("frame", [0, 1])
def test_either_limit_fails_either_frame(reference, frame, change, passes):
    parity = compare(NAMES, reference, moved(reference, frame, **change), WIDE)
    assert parity.passed is passes
    if not passes:
        assert parity.worst.name == NAMES[frame]


def test_correlation_is_asked_of_maps_that_vary_only(reference):
    frames = compare(NAMES, reference, reference, WIDE).frames
    assert frames[0].correlation is not None
    assert frames[1].correlation is None


def test_correlation_alone_can_fail(reference):
    noise = 0.005 * np.where(np.arange(12).reshape(3, 4) % 2, 1, -1).astype(np.float32)
    found = moved(reference, 0, anomaly_map=noise)
    assert compare(NAMES, reference, found, WIDE).passed
    strict = ParityLimits(score_max_abs=0.1, map_max_abs=0.01, map_correlation=0.9999)
    assert not compare(NAMES, reference, found, strict).passed


def test_a_constant_map_does_not_correlate_with_a_varying_one(reference):
    found = GoldenOutputs(reference.scores, np.full_like(reference.anomaly_maps, 0.25))
    assert compare(NAMES, reference, found, WIDE).correlation == 0


def test_a_map_of_little_contrast_must_still_be_the_same_map():
    ramp = np.linspace(0, 0.01, 12, dtype=np.float32).reshape(1, 3, 4)
    reference = GoldenOutputs(np.array([0.5], np.float32), ramp)
    upside_down = GoldenOutputs(reference.scores, ramp[:, ::-1].copy())
    assert not compare(NAMES[:1], reference, upside_down, LIMITS["fp16"]).passed
    assert compare(NAMES[:1], reference, upside_down, WIDE).frames[0].correlation is None


def test_maps_of_another_size_are_refused(reference):
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 3\)"):
        found = GoldenOutputs(reference.scores, reference.anomaly_maps[..., :3])
        compare(NAMES, reference, found, WIDE)


def test_limits_are_those_that_are_promised():
    assert (LIMITS["fp32"].score_max_abs, LIMITS["fp32"].map_max_abs) == (1e-4, 1e-4)
    assert (LIMITS["fp16"].score_max_abs, LIMITS["fp16"].map_correlation) == (5e-3, 0.999)

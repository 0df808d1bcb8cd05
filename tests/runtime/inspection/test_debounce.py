from dataclasses import replace

import numpy as np
import pytest

from zsad import Detector, Verdict
from zsad.errors import InputError
from zsad.inspection.config import DebounceConfig
from zsad.inspection.debounce import Debounce
from zsad.recipe import TypeThreshold

OK, NG, NO_RESULT = Verdict.OK, Verdict.NG, Verdict.NO_RESULT


@pytest.fixture
def detector(make_artifact, make_recipe):
    path = make_artifact()
    with Detector.load(path, make_recipe(path, 0.5)) as opened:
        yield opened


def grey(level):
    return np.full((8, 12, 3), level, np.uint8)


def held(debounce, detector, levels, gap_s=0.1):
    results = [
        debounce.hold(detector, detector.predict(grey(level)), index * gap_s)
        for index, level in enumerate(levels)
    ]
    return [result.verdict for result in results], [result.threshold for result in results]


def test_after_an_ng_a_score_must_fall_below_the_hysteresis(detector):
    # 0.5 is 127.5 of 255; a fifth lower is 102.
    levels = (120, 130, 120, 103, 101, 120)
    verdicts, thresholds = held(Debounce(DebounceConfig(hysteresis=0.2)), detector, levels)
    assert verdicts == [OK, NG, NG, NG, OK, OK]
    assert thresholds == pytest.approx([0.5, 0.5, 0.4, 0.4, 0.4, 0.5])


def test_what_was_compared_gives_the_verdict_again(detector):
    debounce = Debounce(DebounceConfig(hysteresis=0.2))
    for level in (120, 130, 120, 103, 101, 120):
        result = debounce.hold(detector, detector.predict(grey(level)), 0.0)
        assert (result.score > result.threshold) == (result.verdict is NG)
        assert result.is_anomalous == (result.verdict is NG)


def test_without_hysteresis_nothing_changes(detector):
    verdicts, thresholds = held(Debounce(DebounceConfig()), detector, (120, 130, 120))
    assert (verdicts, thresholds) == ([OK, NG, OK], [0.5] * 3)


def test_a_frame_without_a_result_does_not_end_the_hold(detector):
    debounce = Debounce(DebounceConfig(hysteresis=0.2))
    seen = detector.predict(grey(130))
    debounce.hold(detector, seen, 0.0)
    torn = replace(seen, verdict=NO_RESULT, reason="the frame is torn")
    assert debounce.hold(detector, torn, 0.1) is torn
    assert debounce.hold(detector, detector.predict(grey(120)), 0.2).verdict is NG


def test_a_pause_ends_the_hold(detector):
    debounce = Debounce(DebounceConfig(hysteresis=0.2, forget_after_s=1.0))
    assert held(debounce, detector, (130, 120), gap_s=1.1)[0] == [NG, OK]


def test_a_type_is_held_by_its_own_threshold(make_typed_artifact, make_recipe):
    path = make_typed_artifact()  # a type's score is 5/12 of the grey level
    own = (TypeThreshold("dent", 0.2), TypeThreshold("rust", 0.9))
    with Detector.load(path, make_recipe(path, 0.99, types=own)) as opened:
        debounce = Debounce(DebounceConfig(hysteresis=0.2))
        levels = (115, 125, 115, 97)  # types at 0.188, 0.204, 0.188, 0.158
        assert held(debounce, opened, levels)[0] == [OK, NG, NG, OK]


def test_an_uncalibrated_result_comes_back_as_it_is(make_artifact):
    with Detector.load(make_artifact()) as opened:
        result = opened.predict(grey(10))
        debounce = Debounce(DebounceConfig(0.2, 2, 3))
        assert debounce.hold(opened, result, 0.0) is result
        assert debounce.settle(result.verdict, 0.0).verdict is Verdict.UNCALIBRATED


def settled(debounce, verdicts, gap_s=0.1):
    return [debounce.settle(v, i * gap_s).verdict for i, v in enumerate(verdicts)]


def test_two_of_three_make_an_ng():
    debounce = Debounce(DebounceConfig(ng_frames=2, of_frames=3))
    told = settled(debounce, [OK, OK, OK, NG, OK, NG, OK, OK, NG])
    assert told[2:] == [OK, OK, OK, NG, OK, OK, OK]


def test_until_enough_was_seen_there_is_no_ok():
    # Two frames that nobody saw might both have been bad.
    debounce = Debounce(DebounceConfig(ng_frames=2, of_frames=3))
    assert settled(debounce, [OK, OK, OK]) == [NO_RESULT, OK, OK]


def test_one_of_one_is_the_frame_itself():
    debounce = Debounce(DebounceConfig())
    assert settled(debounce, [OK, NG, NO_RESULT, OK]) == [OK, NG, NO_RESULT, OK]


def test_a_frame_without_a_result_is_never_ok_and_counts_as_what_it_may_hide():
    debounce = Debounce(DebounceConfig(ng_frames=2, of_frames=4))
    assert settled(debounce, [OK, OK, OK, OK, NO_RESULT])[-2:] == [OK, NO_RESULT]
    assert debounce.settle(OK, 0.5).verdict is OK  # one unknown cannot make two
    found = debounce.settle(NG, 0.6)
    assert found.verdict is NO_RESULT  # one seen and one unknown can
    assert "1 of the last 4 frames have no result" in found.reason
    assert debounce.settle(NG, 0.7).verdict is NG


def test_an_ng_that_is_certain_outweighs_a_frame_without_a_result():
    debounce = Debounce(DebounceConfig(ng_frames=2, of_frames=3))
    assert settled(debounce, [NG, NG, NO_RESULT])[-1] is NG


def test_frames_from_before_a_pause_do_not_count():
    debounce = Debounce(DebounceConfig(ng_frames=2, of_frames=2, forget_after_s=1.0))
    assert settled(debounce, [OK, NG], gap_s=1.1) == [OK, NO_RESULT]
    assert debounce.settle(NG, 1.2).verdict is NG
    debounce.reset()
    assert debounce.settle(NG, 1.3).verdict is NO_RESULT


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hysteresis": 1.0}, "hysteresis 1.0"),
        ({"hysteresis": float("nan")}, "hysteresis nan"),
        ({"ng_frames": 0}, "0 of 1"),
        ({"of_frames": 101}, "1 of 101"),
        ({"forget_after_s": 0.0}, "forget_after_s 0.0"),
    ],
)
def test_what_is_no_rule_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        DebounceConfig(**values)

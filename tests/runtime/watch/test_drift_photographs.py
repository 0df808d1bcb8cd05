"""Drift on real photographs of parts that differ from each other, whose faults are planted."""

import cv2
import numpy as np
import pytest
from made_scenes import reference_of

from zsad.data import open_dataset
from zsad.watch.config import DriftConfig
from zsad.watch.drift import DriftMonitor

GOOD, RATE = 100, 1000

PLANTED = {
    "exposure": lambda frame: np.clip(frame * 1.5, 0, 255).astype(np.uint8),
    "focus": lambda frame: cv2.GaussianBlur(frame, (0, 0), 2.0),
    "position": lambda frame: np.roll(frame, frame.shape[1] // 10, axis=1),
}


@pytest.fixture(scope="module")
def cells():
    """Good solar cells, 300 x 300, in an order of their own."""
    pytest.importorskip("elpv_dataset")
    dataset = open_dataset("elpv")
    samples = [dataset[int(i)] for i in np.random.default_rng(0).permutation(len(dataset))]
    return [sample.image_bgr for sample in samples if sample.label == 0][:700]


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_of_real_parts_raises_its_own_alarm_and_no_other(cells, kind):
    monitor = DriftMonitor(DriftConfig(), None, reference_of(cells[:GOOD]))
    raised = set()
    for cell in cells[GOOD : GOOD + 300]:
        raised |= {alarm.kind for alarm in monitor.observe(PLANTED[kind](cell), None)}
    assert raised == {kind}


@pytest.mark.slow
def test_real_parts_in_control_alarm_no_more_often_than_stated(cells):
    reference, rest = reference_of(cells[:GOOD]), cells[GOOD:]
    monitor = DriftMonitor(DriftConfig(parts_per_false_alarm=RATE), None, reference)
    rng, alarms, before = np.random.default_rng(1), 0, ()
    for index in [int(i) for _ in range(3) for i in rng.permutation(len(rest))]:
        now = monitor.observe(rest[index], None)
        alarms += len(set(now) - set(before))
        before = now
    assert alarms <= 3 * len(rest) / RATE

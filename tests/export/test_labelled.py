"""Parity on labelled images, with predictors whose scores and maps are known by hand."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from zsad.data import Sample
from zsad.parity import ParityLimits
from zsad.parity_record import MetricDelta
from zsad.types import AnomalyResult
from zsad_export.labelled import LabelledReference, judge_budget

SIDE = 8
LIMITS = ParityLimits(score_max_abs=0.1, map_max_abs=0.05, map_correlation=0.999)


class Parts:
    """Grey squares that carry their number in their first pixel; odd ones have a defect."""

    name, has_masks = "squares", True

    def __init__(self, n=40):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        image = np.full((SIDE, SIDE, 3), 100, np.uint8)
        image[0, 0] = index
        mask = np.zeros((SIDE, SIDE), bool)
        mask[2:5, 2:5] = index % 2
        defect = "spot" if index % 2 else "good"
        return Sample(image, mask, index % 2, "square", defect, f"square{index}")


class Known:
    """Scores of good parts below 0.5 and of defective ones above it, but for those `swapped`."""

    def __init__(self, swapped=(), offset=0.0, at=None, contrast=0.5):
        self.swapped, self.offset, self.at, self.contrast = swapped, offset, at, contrast

    def predict(self, frame_bgr):
        index = int(frame_bgr[0, 0, 0])
        high = bool(index % 2) != (index in self.swapped)
        score = (0.6 if high else 0.2) + index / 200
        if self.at is None or self.at == index:
            score += self.offset
        anomaly_map = np.linspace(0, 0.1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
        if index % 2:
            anomaly_map[2:5, 2:5] += self.contrast
        return AnomalyResult(score, anomaly_map)


FEW = 100
"""Resamples that are enough for intervals known by hand, or for their sign."""


@pytest.fixture(scope="module")
def reference():
    with LabelledReference(Parts(), Known(), "the reference", draws=FEW) as made:
        yield made


def compared(reference, budget=0.005, **found):
    return reference.compare(Known(**found), "the graph", LIMITS, budget)


def test_the_reference_itself_is_not_kept():
    predictor = Known()
    kept = weakref.ref(predictor)
    with LabelledReference(Parts(), predictor, "the reference", draws=2):
        del predictor
        assert kept() is None  # it is a whole model, whose memory the graphs need


def test_the_same_predictor_moves_nothing(reference):
    record = compared(reference).record
    assert (record.dataset, record.n_good, record.n_defective) == ("squares", 20, 20)
    assert (record.score_max_abs, record.map_max_abs, record.most_flips) == (0, 0, 0)
    assert (record.kendall_tau, record.map_correlation) == (1, pytest.approx(1))
    assert record.deltas["image_auroc"] == record.deltas["aupro"] == MetricDelta(0, 0, 0)
    assert record.verdict == "within"
    assert compared(reference).faults == []


def test_an_offset_flips_verdicts_and_moves_no_ranking(reference):
    record = compared(reference, offset=0.045).record
    assert record.score_max_abs == pytest.approx(0.045, rel=1e-4)
    assert record.score_mean_abs == pytest.approx(0.045, rel=1e-4)
    # Even parts are 0.01 apart from 0.2 on, so an offset of 0.045 carries five of them over a
    # threshold between two; likewise odd ones from 0.605.
    assert record.most_flips == 5
    assert record.kendall_tau == 1
    assert record.deltas["image_auroc"].value == 0


def test_what_one_image_does_is_found_and_named(reference):
    found = compared(reference, offset=0.07, at=12)
    assert found.record.worst_image == found.worst.name == "square12"
    assert found.record.score_mean_abs == pytest.approx(0.07 / 40, rel=1e-3)
    assert found.record.most_flips == 1
    np.testing.assert_array_equal(found.worst.image_bgr, Parts()[12].image_bgr)


def test_swapped_parts_are_over_budget(reference):
    # Every part is on the wrong side, so AUROC falls from 1 to 0 in every resample.
    found = compared(reference, swapped=range(40))
    assert found.record.deltas["image_auroc"] == MetricDelta(-1, -1, -1)
    assert found.record.verdict == "over"
    (fault,) = found.faults
    assert "on squares it moves image auroc -100.00 [-100.00, -100.00]" in fault
    assert "allowed are 0.5 points either way, that is over" in fault


def test_an_interval_that_straddles_the_budget_shows_nothing(reference):
    # One defective part that now scores 0.295 falls below the ten good parts from 0.3 on.
    found = compared(reference, swapped=(19,))
    delta = found.record.deltas["image_auroc"]
    assert delta.value == pytest.approx(-10 / 400)
    assert delta.low < -0.005 < delta.high <= 0
    assert found.record.verdict == "not shown"
    assert "20 good and 20 defective images are too few to show it is within" in found.faults[0]


def test_too_few_images_cannot_show_a_fine_budget(reference):
    # One pair of 400 that changes places moves AUROC by 0.25 points.
    assert compared(reference, budget=0.0026).record.verdict == "within"
    assert compared(reference, budget=0.0024).record.verdict == "not shown"


def test_a_map_that_loses_contrast_moves_pixel_figures(reference):
    record = compared(reference, contrast=0.05).record
    assert record.map_max_abs == pytest.approx(0.45, rel=1e-4)
    assert record.map_correlation < 0.9
    assert record.deltas["pixel_auroc"].value < -0.05
    assert record.deltas["image_auroc"].value == 0


def test_scores_of_the_maps_are_compared_where_a_recipe_judges_by_them():
    with LabelledReference(Parts(), Known(), "reference", "map_max", FEW) as reference:
        found = reference.compare(Known(contrast=0.3), "graph", LIMITS, 0.005)
    assert found.record.score_max_abs == pytest.approx(0.2, rel=1e-4)
    assert min(found.reference_scores) == pytest.approx(0.1, rel=1e-5)


def test_labels_without_masks_give_image_figures_only():
    class Unmasked(Parts):
        has_masks = False

        def __getitem__(self, index):
            return replace(super().__getitem__(index), mask=None)

    with LabelledReference(Unmasked(), Known(), "reference", draws=FEW) as reference:
        record = reference.compare(Known(), "graph", LIMITS, 0.005).record
    assert set(record.deltas) == {"image_auroc", "image_ap", "image_f1_max"}
    assert record.map_max_abs == 0


@pytest.mark.parametrize(
    ("low", "high", "step", "verdict"),
    [
        (-0.001, 0.001, 0.0, "within"),
        (-0.0011, 0.0, 0.0, "not shown"),
        (0.0, 0.0011, 0.0, "not shown"),
        (-0.02, -0.0011, 0.0, "over"),
        (0.0011, 0.02, 0.0, "over"),
        (-0.0005, 0.0005, 0.0011, "not shown"),
    ],
)
@pytest.mark.parametrize("metric", ["image_auroc", "pixel_auroc"])
def test_both_ends_of_the_interval_decide(metric, low, high, step, verdict):
    deltas = {"image_auroc": MetricDelta(0, 0, 0), metric: MetricDelta((low + high) / 2, low, high)}
    assert judge_budget(deltas, 0.001, step) == verdict


def test_other_metrics_have_no_budget_and_no_metric_shows_nothing():
    drop = MetricDelta(-0.5, -0.6, -0.4)
    assert judge_budget({"image_auroc": MetricDelta(0, 0, 0), "aupro": drop}, 0.001, 0) == "within"
    assert judge_budget({"aupro": drop}, 0.001, 0) == "not shown"

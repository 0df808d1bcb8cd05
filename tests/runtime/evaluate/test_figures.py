"""What an evaluation says: figures, intervals, margin, decisions."""

import dataclasses

import numpy as np
import pytest
from made_parts import GreyPredictor, ListDataset, parts, run, sample, without_masks

from zsad.evaluate import measure, text_table
from zsad.metrics import aupro, auroc, pixel_ap, pixel_auroc, pixel_f1_max, rcpro
from zsad.metrics.pixel_counts import pixel_counts


def test_figures_are_the_metrics_of_the_scores_and_maps():
    samples = parts(contrast=6)
    found = run(ListDataset(samples))
    maps = np.stack([s.image_bgr[..., 0] / np.float32(255) for s in samples])
    masks = np.stack([s.mask for s in samples])
    labels = np.array([s.label for s in samples])
    figures = found.mean.figures
    assert figures["image_auroc"].value == auroc(maps.mean(axis=(1, 2)), labels)
    assert figures["pixel_auroc"].value == pixel_auroc(maps, masks)
    assert figures["pixel_ap"].value == pixel_ap(maps, masks)
    assert figures["pixel_f1_max"].value == pixel_f1_max(maps, masks).f1
    assert figures["aupro"].value == aupro(maps, masks, 0.3)
    assert figures["rcpro"].value == pytest.approx(rcpro(maps, masks), abs=1e-12)
    assert (found.mean.n_good, found.mean.n_defective) == (6, 6)
    for figure in figures.values():
        assert figure.low <= figure.value <= figure.high
    assert 0.5 < figures["pixel_auroc"].low < figures["pixel_auroc"].high < 1


def test_the_mean_is_over_classes_not_over_images():
    # One class is ranked perfectly, the other the wrong way round; pooled it would not be 0.5.
    samples = parts("plate", 20, brightness=60) + parts("a long name", 6, contrast=-60)
    found = run(ListDataset(samples))
    by_class = {row.name: row.figures["image_auroc"].value for row in found.classes}
    assert by_class == {"plate": 1.0, "a long name": 0.0}
    assert found.mean.figures["image_auroc"].value == 0.5


def test_masks_are_compared_at_the_size_of_the_map():
    found = run(ListDataset(parts()), GreyPredictor(step=2))
    assert found.map_hw == (12, 12)
    assert found.mean.figures["pixel_auroc"].value > 0.95


def test_a_defect_too_small_for_the_map_is_counted_as_lost():
    speck = sample(1, defective=True)
    mask = np.zeros_like(speck.mask)
    mask[5, 5] = True
    samples = [*parts(), dataclasses.replace(speck, mask=mask, name="speck")]
    found = run(ListDataset(samples), GreyPredictor(step=4))
    assert found.lost_masks == 1
    assert "1 defects are too small" in text_table(found)


def test_pixel_figures_are_exact_however_coarse_the_bins_of_the_bootstrap(monkeypatch):
    dataset = ListDataset(parts(contrast=6))
    fine = run(dataset).mean.figures["pixel_auroc"]
    monkeypatch.setattr(
        measure, "pixel_counts", lambda maps, masks: pixel_counts(maps, masks, bins=4)
    )
    coarse = run(dataset).mean.figures["pixel_auroc"]
    assert coarse.value == fine.value
    assert coarse.low == pytest.approx(fine.low, abs=0.02)
    assert coarse.low < coarse.value < coarse.high


def test_decisions_count_rejected_good_and_passed_defective_images():
    samples = [
        sample(0, brightness=100),
        sample(2, brightness=140),
        sample(4, brightness=150),
        sample(1, brightness=150, defective=True),
        sample(3, brightness=90, defective=True),
        sample(5, brightness=95, defective=True),
    ]
    decisions = run(ListDataset(samples), GreyPredictor(threshold=130 / 255)).decisions
    assert (decisions.good, decisions.good_rejected) == (3, 2)
    assert (decisions.defective, decisions.defective_passed) == (3, 2)


def test_the_same_seed_gives_the_same_evaluation():
    dataset = ListDataset(parts(contrast=4))
    assert run(dataset, seed=1) == run(dataset, seed=1)
    assert run(dataset, seed=1).mean != run(dataset, seed=2).mean


def test_a_model_that_is_the_floor_has_no_margin():
    # Brighter means defective: the floor finds `+ mean` or better, the model is the mean.
    found = run(without_masks(parts(contrast=60)))
    assert found.floor.figures["image_auroc"].value == 1.0
    margin = found.margin["image_auroc"]
    assert (margin.value, margin.low, margin.high) == (0, 0, 0)


def test_the_margin_is_paired():
    found = run(without_masks(parts(n=60, contrast=1)))
    model, floor = found.mean.figures["image_auroc"], found.floor.figures["image_auroc"]
    margin = found.margin["image_auroc"]
    assert margin.value == pytest.approx(model.value - floor.value)
    assert model.value < 0.9, "a perfect ranking would have no spread to compare"
    unpaired = np.hypot(model.high - model.low, floor.high - floor.low)
    assert margin.high - margin.low < 0.8 * unpaired

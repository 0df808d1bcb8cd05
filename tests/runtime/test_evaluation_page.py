"""The report of an evaluation: what it shows, and that it needs nothing beside itself."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from html_page import Page

from zsad.data import Sample
from zsad.evaluate import examine
from zsad.evaluate.cases import CaseBook
from zsad.evaluate.charts import curves_svg, mean_curve
from zsad.evaluate.page import render_page
from zsad.metrics import Curve
from zsad.types import AnomalyResult

NASTY = "<script>alert('1')</script>\"onerror=x&"


def sample(index, label=0, class_name="plate", name=None, level=None):
    rng = np.random.default_rng(index)
    mask = np.zeros((20, 30), bool)
    mask[5:10, 5:12] = bool(label)
    grey = rng.normal(80 if level is None else level, 6, mask.shape) + 40 * mask
    image = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    defect = "spot" if label else "good"
    return Sample(image, mask, label, class_name, defect, name or f"{class_name}/{index}")


class Listed:
    name, classes, has_masks = "listed", (), True

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class Grey:
    def predict(self, frame_bgr):
        anomaly_map = frame_bgr[..., 0].astype(np.float32) / 255
        return AnomalyResult(float(anomaly_map.max()), anomaly_map)


def examined(samples, **subject):
    return examine(Grey(), Listed(samples), subject={"name": "grey", **subject}, draws=30)


def two_classes(n=12):
    return [sample(i, i % 2, kind) for kind in ("plate", "long ring") for i in range(n)]


def test_the_report_needs_nothing_beside_itself():
    text = render_page(examined(two_classes()))
    page = Page(text)
    assert page.tags["img"] == 3 * 2 * 12
    page.assert_needs_nothing_beside_itself()
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_names_from_outside_are_escaped():
    samples = [
        replace(s, class_name=NASTY, name=f"{NASTY}{i}") for i, s in enumerate(two_classes())
    ]
    page = Page(render_page(examined(samples, weights=NASTY)))
    assert page.tags["script"] == 0
    assert f"{NASTY}{NASTY}0" in "".join(page.text)


def test_every_figure_and_both_curves_are_shown():
    found = examined(two_classes())
    text = render_page(found)
    value = 100 * found.evaluation.mean.figures["aupro"].value
    assert f"<b>{value:.1f}</b>AUPRO" in text
    for heading in ("image AUROC", "pixel F1max", "AUPRO", "RCPRO"):
        assert f'<th class="number">{heading}</th>' in text
    assert "ROC of images" in text
    assert "PRO of pixels" in text
    # A thin line per class and the mean, twice.
    assert text.count("<polyline") == 2 * 3
    assert "Class by class" in text


def test_without_masks_there_is_no_curve_of_pixels():
    text = render_page(examined([replace(s, mask=None) for s in two_classes()]))
    assert "PRO of pixels" not in text
    assert "ROC of images" in text


def test_one_class_is_its_own_mean():
    text = render_page(examined([sample(i, i % 2) for i in range(12)]))
    assert text.count("<polyline") == 2
    assert "Class by class" not in text


def test_the_worst_and_the_best_cases_are_kept_in_order():
    book = CaseBook(kept=3)
    scores = [0.5, 0.9, 0.1, 0.7, 0.3, 0.9]
    for index, score in enumerate(scores):
        result = AnomalyResult(score, np.zeros((20, 30), np.float32))
        book.offer(sample(index, label=0), result)
        book.offer(sample(index + 10, label=1), result)
    assert [c.name for c in book.false_alarms] == ["plate/1", "plate/5", "plate/3"]
    assert [c.name for c in book.misses] == ["plate/12", "plate/14", "plate/10"]
    assert [c.name for c in book.hits] == ["plate/11", "plate/15", "plate/13"]


def test_a_case_shows_the_outline_of_its_defect_and_the_heat():
    book = CaseBook()
    anomaly_map = np.zeros((20, 30), np.float32)
    anomaly_map[5:10, 5:12] = 1
    book.offer(sample(0, label=1, level=80), AnomalyResult(0.9, anomaly_map))
    frame, heat = (
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)
        for jpeg in (book.hits[0].frame_jpeg, book.hits[0].heat_jpeg)
    )
    assert frame.shape == (20, 30, 3)
    assert frame[5, 8].min() > 150, "a white line on the edge of the mask"
    assert frame[16, 25].max() < 120
    assert np.ptp(heat[7, 8]) > 50 > np.ptp(heat[16, 25])


@pytest.mark.parametrize("limit", [1.0, 0.3])
def test_a_curve_ends_at_the_limit_of_its_axis(limit):
    svg = curves_svg({"a": Curve(np.array([0.0, 0.5, 1]), np.array([0.0, 1, 1]))}, "x", "y", limit)
    points = [tuple(map(float, p.split(","))) for p in re.search(r'points="(.*?)"', svg)[1].split()]
    assert points[0] == (44, 398)
    assert points[-1][0] == 426
    share = min(1, limit / 0.5)
    assert points[-1][1] == pytest.approx(398 - share * 388, abs=0.1)


def test_the_mean_curve_has_the_mean_area():
    steep = Curve(np.array([0.0, 0, 1]), np.array([0.0, 1, 1]))
    chance = Curve(np.array([0.0, 1]), np.array([0.0, 1]))
    mean = mean_curve([steep, chance])
    assert mean.area() == pytest.approx(0.75, abs=1e-3)
    assert (mean.x[0], mean.y[0]) == (0, 0)

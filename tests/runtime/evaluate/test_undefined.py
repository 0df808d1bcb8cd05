"""What an evaluation leaves out, or refuses, where a figure is not defined."""

import dataclasses

import numpy as np
import pytest
from made_parts import GreyPredictor, ListDataset, parts, run, sample, without_masks

from zsad.errors import InputError
from zsad.evaluate import text_table
from zsad.types import AnomalyResult


def test_without_masks_there_are_image_figures_only():
    found = run(without_masks(parts()))
    assert found.mean.figures["pixel_auroc"] is None
    assert (found.pixel_floor, found.map_hw, found.lost_masks) == (None, None, 0)
    assert "pixel" not in text_table(found)


def test_defective_images_only_give_pixel_figures_only():
    found = run(ListDataset([sample(i, defective=True) for i in range(4)]))
    assert found.mean.figures["image_auroc"] is None
    assert found.image_floor is None
    assert found.mean.figures["pixel_auroc"].value > 0.99
    assert "image" not in text_table(found).splitlines()[0]


def test_a_class_with_one_label_is_left_out_of_the_mean_only():
    lone = [sample(i, "good only") for i in range(3)]
    found = run(without_masks(parts() + lone))
    assert [row.name for row in found.classes] == ["good only", "plate"]
    assert found.classes[0].figures["image_auroc"] is None
    assert found.mean.figures["image_auroc"] == found.classes[1].figures["image_auroc"]
    assert found.mean.n_good == 9


def test_good_images_only_cannot_be_evaluated():
    with pytest.raises(InputError, match="no class with both good and defective"):
        run(ListDataset([sample(i) for i in range(3)]))


class Constant(GreyPredictor):
    def predict(self, frame_bgr):
        return AnomalyResult(0.5, np.full(frame_bgr.shape[:2], 0.5, np.float32))


def test_constant_maps_are_chance_and_have_no_rcpro_which_is_said():
    found = run(ListDataset(parts("plate") + parts("ring")), Constant())
    figures = found.mean.figures
    assert {k: figures[k].value for k in ("image_auroc", "pixel_auroc")} == {
        "image_auroc": 0.5,
        "pixel_auroc": 0.5,
    }
    assert figures["aupro"].value == pytest.approx(0.15)
    assert figures["rcpro"] is None
    assert found.floor.figures["rcpro"] is not None
    assert "no RCPRO, and no part in its mean: plate, ring" in text_table(found)


def test_a_class_without_rcpro_has_no_part_in_its_margin():
    class Half(GreyPredictor):
        def predict(self, frame_bgr):
            constant = frame_bgr[0, 0, 0] > 150
            return (Constant() if constant else super()).predict(frame_bgr)

    bright = parts("ring", brightness=200, contrast=-60)
    found = run(ListDataset(parts("plate", contrast=6) + bright), Half())
    plate, ring = (row.figures["rcpro"] for row in found.classes)
    assert ring is None
    assert found.mean.figures["rcpro"] == plate
    floor = found.floor_classes[0].figures["rcpro"]
    assert found.margin["rcpro"].value == pytest.approx(plate.value - floor.value)
    assert "no part in its mean: ring;" in text_table(found)


def test_a_class_that_is_defective_everywhere_has_no_pixel_figures():
    samples = [
        dataclasses.replace(s, mask=np.ones_like(s.mask), class_name="flooded", name=f"f{i}")
        for i, s in enumerate(parts()[1::2])
    ]
    found = run(ListDataset(parts() + samples))
    flooded, plate = found.classes
    assert flooded.name == "flooded"
    assert set(flooded.figures.values()) == {None}
    assert found.mean.figures["aupro"] == plate.figures["aupro"]


def test_defective_images_only_give_every_pixel_figure_with_an_interval():
    # Two of the images are all defect: a resample of only those two has no normal pixel.
    samples = [sample(i, defective=True, contrast=6) for i in range(3)]
    samples[:2] = [dataclasses.replace(s, mask=np.ones_like(s.mask)) for s in samples[:2]]
    figures = run(ListDataset(samples)).mean.figures
    for name in ("pixel_auroc", "aupro", "rcpro"):
        assert 0 <= figures[name].low <= figures[name].high <= 1


def test_an_empty_mask_of_a_defective_image_is_said():
    samples = parts()
    samples[3] = dataclasses.replace(samples[3], mask=np.zeros_like(samples[3].mask))
    found = run(ListDataset(samples))
    assert (found.empty_masks, found.lost_masks) == (1, 0)
    assert "1 defective images have an empty mask" in text_table(found)
    assert "empty mask" not in text_table(run(ListDataset(parts())))


def test_empty_masks_only_give_image_figures_and_say_why():
    samples = [dataclasses.replace(s, mask=np.zeros_like(s.mask)) for s in parts()]
    found = run(ListDataset(samples))
    assert found.mean.figures["pixel_auroc"] is None
    assert "6 defective images have an empty mask" in text_table(found)
    assert "pixels compared" not in text_table(found)

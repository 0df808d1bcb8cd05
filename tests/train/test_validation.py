import dataclasses

import numpy as np
import pytest
import torch

from zsad.metrics import auroc, pixel_auroc
from zsad_train.batches import preprocess_spec, to_tensor
from zsad_train.validation import validate


def test_the_figures_are_those_of_the_methods_predictions(moved, squares):
    dive, data = moved(), squares(count=6)
    spec = preprocess_spec(dive.backbone.info)
    with torch.no_grad():
        prediction = dive(torch.stack([to_tensor(data[i].image_bgr, spec) for i in range(6)]))
    masks = np.stack([data[i].mask for i in range(6)])
    found = validate(dive, data, batch_size=4)
    assert found["image_auroc"] == pytest.approx(auroc(prediction.score.numpy(), [0, 1] * 3))
    assert found["pixel_auroc"] == pytest.approx(
        pixel_auroc(prediction.anomaly_map.numpy(), masks), abs=1e-4
    )


def test_without_masks_there_is_no_pixel_figure(moved, squares):
    assert validate(moved(), squares(masked=False), 4).keys() == {"image_auroc"}


def test_without_a_defect_there_is_no_figure(moved, squares):
    assert validate(moved(), squares(count=1), 4) == {}


def test_validation_changes_no_gradient(moved, squares):
    dive = moved()
    validate(dive, squares(count=2), 4)
    assert all(parameter.grad is None for parameter in dive.parameters())


def test_other_image_sizes_are_resized(moved, squares):
    @dataclasses.dataclass(frozen=True)
    class Large(squares):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return dataclasses.replace(
                sample,
                image_bgr=sample.image_bgr.repeat(2, axis=0),
                mask=sample.mask.repeat(2, axis=0),
            )

    assert validate(moved(), Large(count=4), 4).keys() == {"image_auroc", "pixel_auroc"}

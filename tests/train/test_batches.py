import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from zsad.preprocess import PreprocessSpec
from zsad_train.batches import TrainingSamples, collate, preprocess_spec, to_tensor

SPEC = PreprocessSpec(height=32, width=32, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))


def test_a_frame_becomes_normalised_rgb():
    frame = np.empty((32, 32, 3), dtype=np.uint8)
    frame[...] = (51, 102, 255)  # blue, green, red
    tensor = to_tensor(frame, SPEC)
    assert tensor.shape == (3, 32, 32) and tensor.dtype == torch.float32
    assert tensor[:, 0, 0].tolist() == pytest.approx([1.0, 0.6, 0.2])


def test_the_resize_is_pillows():
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image = Image.fromarray(frame[..., ::-1].copy()).resize((32, 32), Image.Resampling.BICUBIC)
    plain = PreprocessSpec(height=32, width=32, mean=(0, 0, 0), std=(1, 1, 1))
    expected = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / 255
    np.testing.assert_array_equal(to_tensor(frame, plain).numpy(), expected)


def test_samples_know_their_label_mask_and_class(squares):
    samples = TrainingSamples(squares(), SPEC, squares.classes)
    normal, anomalous = samples[0], samples[3]
    assert normal.labels.tolist() == [0] and normal.masks.sum() == 0
    assert anomalous.labels.tolist() == [1] and anomalous.masks.sum() == 256
    assert [samples[i].class_ids.item() for i in range(4)] == [0, 0, 1, 1]
    assert TrainingSamples(squares(), SPEC, ["other"])[0].class_ids.item() == -1


def test_samples_know_their_type_where_it_is_one_of_the_training_types(squares):
    samples = TrainingSamples(squares(), SPEC, squares.classes, ("hole", "square"))
    assert collate([samples[0], samples[1]]).type_ids.tolist() == [-1, 1]
    assert TrainingSamples(squares(), SPEC, squares.classes)[1].type_ids.tolist() == [-1]


def test_without_pixel_labels_only_normal_images_have_a_mask(squares):
    samples = TrainingSamples(squares(masked=False), SPEC, squares.classes)
    assert samples[0].has_mask.item() and not samples[1].has_mask.item()


def test_collate_keeps_the_order(squares):
    samples = TrainingSamples(squares(), SPEC, squares.classes)
    batch = collate([samples[1], samples[2]])
    assert batch.images.shape == (2, 3, 32, 32) and batch.labels.tolist() == [1, 0]
    assert torch.equal(batch.images[1:], samples[2].images)


def test_the_spec_is_the_backbones(backbone):
    info = dataclasses.replace(backbone.info, image_hw=(48, 64), mean=(0.1, 0.2, 0.3))
    spec = preprocess_spec(info)
    assert (spec.height, spec.width, spec.mean) == (48, 64, (0.1, 0.2, 0.3))
    assert spec.std == backbone.info.std

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from zsad_train.tiny.batches import batches, normalised, patch_cover, shard
from zsad_train.tiny.cache import chained
from zsad_train.tiny.views import Views


@pytest.fixture(scope="module")
def take(recipe):
    """Return `take(cache, steps, workers=0, **shares of Views) -> batches of 4`."""

    def batches_of(cache, steps, workers=0, **shares):
        return list(batches(cache, recipe.config, Views(**shares), 4, 3, steps, workers))

    return batches_of


def test_a_batch_depends_on_its_step_alone(take, cache):
    late = take(cache, range(2, 4))[1]
    alone = take(cache, range(3, 4))[0]
    assert torch.equal(late.images, alone.images) and late.captions == alone.captions
    assert not torch.equal(late.images, take(cache, range(2, 3))[0].images)


def test_worker_processes_make_the_same_batches_in_order(take, cache):
    steps = range(1, 6)
    pairs = zip(take(cache, steps, warped=0.5), take(cache, steps, 2, warped=0.5), strict=True)
    for here, there in pairs:
        assert torch.equal(here.images, there.images) and here.captions == there.captions
    both = chained([cache, cache])
    assert np.array_equal(pickle.loads(pickle.dumps(both)).images[30], cache.images[6])
    assert len(pickle.dumps(both)) < 20_000  # files are mapped again, not sent


def test_images_reach_the_backbone_as_rgb_in_its_range():
    pixels = torch.tensor([[[[0, 127, 255]]]], dtype=torch.uint8)
    expected = torch.tensor([1.0, 0.0, -127 / 128]).reshape(1, 3, 1, 1)
    assert torch.allclose(normalised(pixels), expected, atol=1e-6)


def test_an_epoch_shows_every_sample_once(take, cache):
    names = [name for batch in take(cache, range(6)) for name in batch.classes]
    assert sorted(names) == sorted(cache.class_names)


def test_images_of_defective_parts_show_the_defect(take, cache):
    for batch in take(cache, range(6)):
        assert batch.images.shape == (4, 64, 64, 3) and batch.covered.shape == (4, 16)
        assert ((batch.covered > 0).any(1) == (batch.labels == 1)).all()
        assert ((batch.types >= 0) == (batch.labels == 1)).all()


def test_views_from_nearby_hold_larger_flaws(take, cache):
    def covered(**shares):
        return np.mean([batch.covered.mean() for batch in take(cache, range(24), **shares)])

    assert covered(closer=1.0) > 1.5 * covered()


def test_overlaid_images_keep_their_defects_and_labels(take, cache):
    pairs = zip(take(cache, range(6)), take(cache, range(6), overlaid=1.0), strict=True)
    for plain, mixed in pairs:
        assert torch.equal(plain.labels, mixed.labels)
        assert not torch.equal(plain.images, mixed.images)
        assert ((mixed.covered > 0).any(1) == (mixed.labels == 1)).all()


def test_cover_is_the_share_of_each_patch():
    mask = np.zeros((4, 4), bool)
    mask[0, 2] = mask[1, 3] = mask[3, 0] = True
    assert patch_cover(mask, 2).tolist() == [0.0, 0.5, 0.25, 0.0]


def test_a_caption_that_names_no_class_is_generic(take, cache):
    names = ("photograph",) * len(cache)
    photographs = replace(cache, class_names=names, captions=("a clean surface",) * len(cache))
    for batch in take(photographs, range(2)):
        assert batch.generic.all()
    flags = torch.cat([batch.generic for batch in take(cache, range(6))])
    assert 0 < int(flags.sum()) < len(flags)


def test_shards_add_up_to_the_batch(take, cache):
    batch = take(cache, range(1))[0]
    parts = [shard(batch, i, 2) for i in range(2)]
    assert parts[0].captions == batch.captions[::2]
    assert torch.equal(parts[1].images, batch.images[1::2])
    assert sum(len(part.labels) for part in parts) == 4

import pickle

import numpy as np
import pytest

from zsad.data.types import GOOD
from zsad_train.tiny.cache import open_cache
from zsad_train.tiny.fields import Grain, Weave, loosened, random_grain, random_weave
from zsad_train.tiny.grains import Grains, damaged
from zsad_train.tiny.phrases import SEEN_TYPES

SIZE = 128
FINE = Grain(2, 1, 0, 2, white=0, skew=0, contrast=20)


def steps(field, axis):
    return np.abs(np.diff(field, axis=axis)).mean()


def test_a_sample_depends_on_its_number_and_the_seed_alone():
    data = Grains(40, 1, SIZE)
    again = pickle.loads(pickle.dumps(data))  # as a spawned process gets it
    for index in (0, 7):
        first, second = data[index], again[index]
        assert np.array_equal(first.image_bgr, second.image_bgr)
        assert np.array_equal(first.mask, second.mask)
        assert (first.caption, first.name) == (second.caption, second.name)
    assert not np.array_equal(data[0].image_bgr, Grains(40, 2, SIZE)[0].image_bgr)
    with pytest.raises(IndexError):
        data[40]


def test_every_second_sample_is_damaged_in_a_few_places():
    for index in range(24):
        sample = Grains(24, 3, SIZE)[index]
        assert sample.image_bgr.shape == (SIZE, SIZE, 3) and sample.image_bgr.dtype == np.uint8
        assert sample.label == index % 2 == sample.mask.any()
        assert sample.mask.mean() < 0.5
        assert sample.defect_type in ((*SEEN_TYPES,) if index % 2 else (GOOD,))


def test_a_grain_has_the_contrast_and_the_mean_that_it_says():
    field = Grain(1, 1, 0, 3, white=0.5, skew=0.1, contrast=30).draw(np.random.default_rng(0), 256)
    assert abs(field.mean()) < 2 and field.std() == pytest.approx(30, rel=0.05)


def test_a_stretched_grain_changes_least_along_its_direction():
    rng = np.random.default_rng(1)
    lying = Grain(2, 5, 0, 2, white=0, skew=0, contrast=20).draw(rng, SIZE)
    standing = Grain(2, 5, np.pi / 2, 2, white=0, skew=0, contrast=20).draw(rng, SIZE)
    assert steps(lying, 1) < 0.7 * steps(lying, 0)
    assert steps(standing, 0) < 0.7 * steps(standing, 1)


def test_longer_grains_are_smoother_and_white_ones_rougher():
    rng = np.random.default_rng(2)
    longer = Grain(8, 1, 0, 2, white=0, skew=0, contrast=20).draw(rng, SIZE)
    white = Grain(2, 1, 0, 2, white=1, skew=0, contrast=20).draw(rng, SIZE)
    fine = FINE.draw(rng, SIZE)
    assert steps(longer, 1) < 0.6 * steps(fine, 1) < 0.6 * steps(white, 1)
    # Two neighbours of white noise differ by 2 / sqrt(pi) standard deviations.
    assert steps(white, 1) == pytest.approx(20 * 2 / np.sqrt(np.pi), rel=0.05)


def test_a_weave_has_the_contrast_and_the_neighbours_of_its_autoregression():
    rng = np.random.default_rng(4)
    weave = Weave(0.6, 0.3, innovation=5)
    field = weave.draw(rng, 256)
    assert field.std() == pytest.approx(weave.contrast(256), rel=0.05)
    # What the upper and the left neighbour do not explain is new, and white.
    new = field[1:, 1:] - 0.6 * field[:-1, 1:] - 0.3 * field[1:, :-1]
    assert new.std() == pytest.approx(5, rel=0.02)
    assert abs(np.corrcoef(new[1:].ravel(), new[:-1].ravel())[0, 1]) < 0.02


def test_a_weave_that_leans_on_nothing_is_white_noise():
    weave = Weave(0, 0, innovation=7)
    assert weave.contrast(64) == pytest.approx(7)
    assert steps(weave.draw(np.random.default_rng(5), 256), 0) == pytest.approx(
        7 * 2 / np.sqrt(np.pi), rel=0.05
    )


def test_a_loosened_weave_leans_less_and_often_not_at_all():
    rng = np.random.default_rng(6)
    pairs = [
        (weave, loosened(rng, weave)) for weave in (random_weave(rng, SIZE) for _ in range(200))
    ]
    assert all(looser.down + looser.right <= 0.6 * (w.down + w.right) for w, looser in pairs)
    assert 70 <= sum(looser.down == looser.right == 0 for _, looser in pairs) <= 130


@pytest.mark.parametrize("draw", [random_grain, random_weave])
def test_where_the_mask_is_another_field_shows(draw):
    rng, far = np.random.default_rng(3), 0
    for _ in range(12):
        normal = draw(rng, SIZE)
        field = normal.draw(rng, SIZE)
        shown, mask = damaged(rng, normal, field)
        # The edge of a place fades out beyond its mask.
        far += np.abs(shown - field)[mask].mean() > 5 * np.abs(shown - field)[~mask].mean()
    assert far >= 11


def test_a_flaw_in_a_weave_is_small():
    rng = np.random.default_rng(8)
    for _ in range(20):
        weave = random_weave(rng, SIZE)
        _, mask = damaged(rng, weave, weave.draw(rng, SIZE))
        assert 0.0005 < mask.mean() < 0.05


def test_a_cache_holds_the_samples(tmp_path):
    cache = open_cache(tmp_path, "grains", 6, 5, 64)
    sample = Grains(6, 5, 64)[3]
    assert np.array_equal(cache.images[3], sample.image_bgr)
    assert cache.captions[3] == sample.caption


def test_one_weave_in_eleven_is_nearly_the_cloth_of_the_test_set():
    rng = np.random.default_rng(0)
    drawn = (random_weave(rng, 224) for _ in range(4000))
    near = [abs(w.down - 0.6) < 0.05 and abs(w.right - 0.35) < 0.05 for w in drawn]
    assert np.mean(near) == pytest.approx(1 / 11, abs=0.012)  # as the model card says

import numpy as np

from zsad.data.synthetic import SyntheticDataset
from zsad_train.tiny.cache import chained, open_cache


def test_a_cache_holds_what_the_generator_draws(cache, folder):
    sample = SyntheticDataset("train", 24, 3, 64)[5]
    assert np.array_equal(cache.images[5], sample.image_bgr)
    mask = np.unpackbits(cache.masks[5], axis=-1, count=64).astype(bool)
    assert np.array_equal(mask, sample.mask)
    assert (cache.captions[5], cache.defect_types[5]) == (sample.caption, sample.defect_type)
    assert "train-24-3-64" in [path.name for path in folder.iterdir()]
    assert not list(folder.glob("*.part"))


def test_chained_caches_keep_their_order(cache, folder):
    more = open_cache(folder, "val", 6, seed=3, size=64)
    both = chained([cache, more])
    assert len(both) == 30 and both.captions == cache.captions + more.captions
    for index, (part, row) in {
        0: (cache, 0),
        23: (cache, 23),
        24: (more, 0),
        29: (more, 5),
    }.items():
        assert np.array_equal(both.images[index], part.images[row])
        assert np.array_equal(both.masks[index], part.masks[row])


def test_many_samples_are_drawn_by_several_processes_alike(cache, folder, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.cache._MANY", 1)
    again = open_cache(folder / "again", "train", 24, seed=3, size=64)
    assert again.captions == cache.captions
    assert all(np.array_equal(again.images[i], cache.images[i]) for i in range(24))

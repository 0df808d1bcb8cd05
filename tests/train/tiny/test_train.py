import hashlib
import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from zsad.data.synthetic.classes import classes_of
from zsad.errors import InputError
from zsad_train.tiny import codec
from zsad_train.tiny.cache import open_cache
from zsad_train.tiny.loader import EMBEDDED, read_state, weights_bytes
from zsad_train.tiny.train import last_report, main, publish, train
from zsad_train.tiny.training import Training


def test_train_leaves_a_log_and_goes_on(recipe, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    train(recipe, tmp_path, folder, report_every=3)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6 and {"dense", "pixel_auroc"} <= set(lines[-1])
    assert train(recipe, tmp_path, folder, report_every=3).step == 6


def test_a_continued_run_begins_with_the_given_weights(recipe, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    first = train(recipe, tmp_path / "first", folder, report_every=6)
    file = publish(first, tmp_path / "first")
    state = codec.read(file.read_bytes(), "first")
    recipe = replace(recipe, steps=2, learning_rate=0.0, starts_from="first")
    second = train(recipe, tmp_path / "second", folder, report_every=1, start=state)
    found = second.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert not second.model.token_embedding.weight.requires_grad


def test_a_variant_keeps_what_it_changed_alone_and_is_measured_on_its_own_split(
    recipe, tmp_path, folder, monkeypatch
):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    start = {name: value.clone() for name, value in Training(recipe).model.state_dict().items()}
    recipe = replace(
        recipe,
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
    assert codec.base_of(file.read_bytes()) == EMBEDDED["tiny"].sha256
    assert "visual.proj" in state and "token_embedding.weight" not in state
    report = last_report(tmp_path)
    assert {"image_auroc", "grains_image_auroc"} <= report.keys()


def test_a_later_stage_goes_on_from_weights_that_its_recipe_names(
    recipe, tmp_path, folder, monkeypatch
):
    seen = []
    monkeypatch.setattr("zsad_train.tiny.train.train", lambda *a, **k: seen.append((a[0], a[4])))
    monkeypatch.setattr("zsad_train.tiny.train.publish", lambda training, out: file)
    later = replace(recipe, steps=3, seed=1)
    monkeypatch.setattr("zsad_train.tiny.train.STAGES", (recipe, later))
    file = publish(Training(recipe), tmp_path)
    result = CliRunner().invoke(
        main, ["--out", str(tmp_path), "--stage", "2", "--start", str(file)]
    )
    assert result.exit_code == 0, result.output
    ((found, state),) = seen
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found == replace(later, starts_from=sha) and "visual.conv1.coarse.weight" in state


@pytest.mark.parametrize("words", [["--stage", "2"], ["--start", "pyproject.toml"]])
def test_only_the_first_stage_starts_from_nothing(tmp_path, words):
    result = CliRunner().invoke(main, ["--out", str(tmp_path), *words])
    assert result.exit_code == 2 and "--stage 1 starts from nothing" in result.output


def test_a_run_may_start_from_the_embedded_variant(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("zsad_train.tiny.train.train", lambda *a, **k: seen.append(a[4]))
    monkeypatch.setattr("zsad_train.tiny.train.publish", lambda training, out: file)
    file = tmp_path / "variant.safetensors"
    file.write_bytes(weights_bytes("tiny-grain"))
    words = ["--out", str(tmp_path), "--stage", "6", "--start", str(file)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    (state,) = seen
    expected = read_state("tiny-grain")
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


def test_a_start_that_lacks_weights_is_refused_before_anything_is_drawn(tmp_path):
    file = tmp_path / "part.safetensors"
    codec.write({"visual.proj": torch.zeros(2, 2)}, file, {})
    words = ["--out", str(tmp_path / "run"), "--stage", "4", "--start", str(file)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2 and "part.safetensors is no whole backbone" in result.output
    assert not (tmp_path / "run").exists()


def test_a_recipe_says_which_splits_are_learned_from(recipe, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad_train.tiny.train._GENERATED_PX", 64)
    monkeypatch.setattr("zsad_train.tiny.train._VAL_IMAGES", 8)
    recipe = replace(recipe, images=(("pretrain", 104), ("train", 24)), steps=2)
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

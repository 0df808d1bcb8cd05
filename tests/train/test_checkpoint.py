import dataclasses
import pickle

import pytest
import torch

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, load_checkpoint, save_checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dive.pt"


@pytest.fixture
def saved(path, moved):
    def save(training=None, **options):
        dive = moved(**options)
        save_checkpoint(path, dive, training or {})
        return dive

    return save


def rewrite(path, **changes):
    content = torch.load(path, weights_only=True)
    torch.save({**content, **changes}, path)


def test_what_is_built_predicts_what_was_saved(path, saved, batch):
    dive = saved(abnormal_prompts=2, vv_from_block=3, sigma=0.02)
    built = build_method(load_checkpoint(path))
    assert built.config == dive.config and built.words == dive.words
    for found, expected in zip(built(batch.images), dive(batch.images), strict=True):
        assert torch.equal(found, expected)


def test_the_file_holds_trained_tensors_and_no_backbone(path, saved):
    dive = saved()
    state = load_checkpoint(path).state
    trainable = sum(p.numel() for p in dive.parameters() if p.requires_grad)
    assert sum(tensor.numel() for tensor in state.values()) == trainable
    assert not any(name.startswith("backbone") for name in state)
    assert path.stat().st_size < 4 * trainable + 60_000


def test_training_state_comes_back(path, saved):
    saved(training={"epoch": 3, "moments": {"m": torch.ones(2)}})
    training = load_checkpoint(path).training
    assert training["epoch"] == 3 and training["moments"]["m"].tolist() == [1, 1]


def test_nothing_else_is_left_in_the_folder(path, saved):
    saved()
    saved()
    assert [p.name for p in path.parent.iterdir()] == ["dive.pt"]


def test_a_folder_that_does_not_exist_is_refused(tmp_path, make_dive):
    with pytest.raises(InputError, match=r"cannot write .*No such file"):
        save_checkpoint(tmp_path / "none" / "dive.pt", make_dive(), {})


def test_a_missing_file_is_refused(path):
    with pytest.raises(InputError, match=r"checkpoint not found: .*dive\.pt"):
        load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_cut_file_is_refused(path, saved, keep):
    saved()
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_text_is_refused(path):
    path.write_text("not a checkpoint at all")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a checkpoint ran')",))


@pytest.mark.parametrize("write", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_refused_and_not_run(path, write):
    write({"format": "zsad-checkpoint", "state": Bomb()}, path)
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [{"prompt_learner": {}}, [1, 2], {"format": "other"}])
def test_another_projects_checkpoint_is_refused(path, content):
    torch.save(content, path)
    with pytest.raises(InputError, match="is not a zsad checkpoint"):
        load_checkpoint(path)


def test_a_newer_schema_is_refused(path, saved):
    saved()
    rewrite(path, schema=2)
    with pytest.raises(InputError, match="schema 2, this zsad reads 1: upgrade"):
        load_checkpoint(path)


def test_a_missing_key_is_refused(path, saved):
    saved()
    content = torch.load(path, weights_only=True)
    del content["words"]
    torch.save(content, path)
    with pytest.raises(InputError, match="'words' is missing"):
        load_checkpoint(path)


def test_metadata_of_the_wrong_kind_is_refused(path, saved):
    saved()
    rewrite(path, words={"classes": "metal plate"})
    with pytest.raises(InputError, match="words: classes: expected list"):
        load_checkpoint(path)


def test_an_unknown_method_and_an_unknown_option_are_refused(path, saved):
    saved()
    checkpoint = load_checkpoint(path)
    with pytest.raises(InputError, match="unknown method 'drive': choose one of dive"):
        build_method(dataclasses.replace(checkpoint, method_name="drive"))
    options = {**checkpoint.options, "colour": 1}
    with pytest.raises(InputError, match="unknown key 'colour'"):
        build_method(dataclasses.replace(checkpoint, options=options))


def test_other_weights_are_refused(path, saved):
    saved()
    checkpoint = load_checkpoint(path)
    other = dataclasses.replace(checkpoint.backbone, sha256="0" * 64)
    with pytest.raises(InputError, match="has sha256 '', the checkpoint was trained with '000"):
        build_method(dataclasses.replace(checkpoint, backbone=other))


def test_weights_that_have_moved_can_be_named(path, saved):
    saved()
    checkpoint = load_checkpoint(path)
    gone = dataclasses.replace(checkpoint.backbone, pretrained="gone/weights.pt")
    checkpoint = dataclasses.replace(checkpoint, backbone=gone)
    with pytest.raises(InputError, match=r"gone/weights\.pt"):
        build_method(checkpoint)
    assert build_method(checkpoint, pretrained="random:3").name == "dive"


def test_tensors_that_do_not_fit_are_refused(path, saved):
    saved()
    checkpoint = load_checkpoint(path)
    name = "state_branch.0.weight"
    wide = {**checkpoint.state, name: torch.zeros(9, 9)}
    with pytest.raises(InputError, match=rf"'{name}' is \(9, 9\), dive wants \(8, 16\)"):
        build_method(dataclasses.replace(checkpoint, state=wide))
    fewer = {n: t for n, t in checkpoint.state.items() if n != name}
    with pytest.raises(InputError, match=f"lacks tensor '{name}'"):
        build_method(dataclasses.replace(checkpoint, state=fewer))
    more = {**checkpoint.state, "zebra": torch.zeros(1)}
    with pytest.raises(InputError, match="has an unknown tensor 'zebra'"):
        build_method(dataclasses.replace(checkpoint, state=more))

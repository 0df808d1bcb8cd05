import json
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from zsad_train import loop, run
from zsad_train.checkpoint import load_checkpoint
from zsad_train.cli import main

SMALL_RUN = {
    "--backbone": "zsad-test-small",
    "--pretrained": "random:3",
    "--data": "synthetic",
    "--image-size": "64",
    "--limit": "4",
    "--val-limit": "4",
    "--epochs": "1",
    "--batch-size": "2",
    "--device": "cpu",
}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "dive.pt"


def command(out, *extra, **changes):
    options = {**SMALL_RUN, **{f"--{k.replace('_', '-')}": str(v) for k, v in changes.items()}}
    words = [word for pair in options.items() for word in pair]
    return CliRunner().invoke(main, [*words, "--out", str(out), *extra])


def assert_refused(result, message, out=None):
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1 and message in lines[0], result.stderr
    if out is not None:
        assert not out.exists() and list(out.parent.iterdir()) == []


def test_a_run_writes_a_checkpoint_and_its_curves(out):
    result = command(out, abnormal_prompts=2, vv_from_block=3, preset="dive-paper")
    assert result.exit_code == 0, result.stderr
    assert "epoch 1: loss" in result.stdout and "image_auroc" in result.stdout
    assert f"{out}: 1 epochs" in result.stdout
    checkpoint = load_checkpoint(out)
    assert checkpoint.options["abnormal_prompts"] == 2
    assert checkpoint.options["vv_from_block"] == 3
    assert checkpoint.backbone.image_hw == (64, 64)
    assert len(checkpoint.words.abnormal) == 100 and len(checkpoint.words.classes) > 2
    curves = json.loads((out.parent / "dive.curves.json").read_text())
    assert curves["records"][0]["val"].keys() == {"image_auroc", "pixel_auroc"}
    assert sorted(p.name for p in out.parent.iterdir()) == ["dive.curves.json", "dive.pt"]


def test_anomalyclip_trains_with_its_own_preset_words_and_position_table(out):
    result = command(out, method="anomalyclip")
    assert result.exit_code == 0, result.stderr
    checkpoint = load_checkpoint(out)
    assert checkpoint.method_name == "anomalyclip" and checkpoint.options["deep_length"] == 4
    assert checkpoint.training["job"]["preset"] == "anomalyclip"
    assert checkpoint.backbone.pos_resize == "bilinear"
    assert checkpoint.words.abnormal == () and len(checkpoint.words.classes) > 2
    assert checkpoint.training["records"][0]["loss"].keys() == {"global", "local", "total"}


@pytest.fixture
def asked(monkeypatch, out):
    """`asked(*words)`: the job that the command line makes, and what was printed."""
    jobs = []
    monkeypatch.setattr(run, "train", lambda job, *rest: jobs.append(job) or ())

    def ask(*words):
        result = CliRunner().invoke(main, ["--data", "synthetic", "--out", str(out), *words])
        assert result.exit_code == 0, result.output
        return jobs.pop(), result.stderr

    return ask


@pytest.mark.parametrize(
    ("words", "epochs", "rate"),
    [
        (("--method", "dive"), 15, 1e-3),
        (("--method", "mrad"), 6, 4e-4),
        (("--method", "mrad", "--preset", "mrad-released"), 6, 4e-4),
        (("--method", "mrad", "--preset", "mrad-ft"), 1, 4e-4),
        (("--method", "mrad", "--epochs", "3"), 3, 4e-4),
        (("--method", "mrad", "--lr", "0.001"), 6, 1e-3),
        (("--method", "entroad"), 6, 4e-4),
    ],
)
def test_a_method_has_its_own_numbers_where_none_is_typed(asked, words, epochs, rate):
    job, _ = asked(*words)
    assert (job.train.epochs, job.train.lr_prompts) == (epochs, rate)


def test_a_reading_says_so_before_it_trains(asked):
    _, said = asked("--method", "entroad")
    assert "note: entroad is this project's reading of arXiv 2605.28630" in said
    assert "its figures are not the paper's" in said
    assert "reading" not in asked("--method", "mrad")[1]


def test_mrad_trains_and_its_checkpoint_holds_the_memory(out):
    result = command(out, method="mrad", limit=8, epochs=2)
    assert result.exit_code == 0, result.stderr
    checkpoint = load_checkpoint(out)
    assert len(checkpoint.state["image_retrieval.memory.keys"]) == 8
    losses = [record["loss"].keys() for record in checkpoint.training["records"]]
    assert losses == [{"retrieved_maps", "retrieved_image", "total"}, {"maps", "total"}]


def test_data_without_a_defect_to_remember_is_refused(out):
    result = command(out, method="mrad", limit=1)  # the first generated image is a good one
    assert_refused(result, "gives no defective image to remember", out)


def test_resume_goes_on_to_the_bit_with_no_option_but_out(out):
    whole = out.with_name("whole.pt")
    assert command(whole, epochs=2).exit_code == 0
    assert command(out).exit_code == 0
    result = CliRunner().invoke(main, ["--out", str(out), "--resume", "--epochs", "2"])
    assert result.exit_code == 0, result.stderr
    first, second = load_checkpoint(whole), load_checkpoint(out)
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    assert first.training["job"] == second.training["job"]


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(out, monkeypatch):
    assert command(out, epochs=1).exit_code == 0

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_train_epoch", interrupted)
    result = CliRunner().invoke(main, ["--out", str(out), "--resume", "--epochs", "2"])
    assert result.exit_code == 130
    assert f"epoch 1 is saved, go on with: zsad-train --out {out} --resume" in result.stderr


def test_a_finished_run_has_nothing_to_resume(out):
    command(out)
    result = CliRunner().invoke(main, ["--out", str(out), "--resume"])
    assert_refused(result, "has all its 1 epochs: give --epochs 6")


def test_resume_refuses_options_that_contradict_the_checkpoint(out):
    command(out)
    result = CliRunner().invoke(main, ["--out", str(out), "--resume", "--seed", "7"])
    assert_refused(result, "seed is 111 in the checkpoint, not 7")
    same = ["--out", str(out), "--resume", "--seed", "111", "--epochs", "2"]
    assert CliRunner().invoke(main, same).exit_code == 0


def test_resume_refuses_data_whose_classes_have_changed(out, monkeypatch):
    command(out)
    original = run.open_dataset

    def renamed(*args, **kwargs):
        data = original(*args, **kwargs)
        return replace(data, split="test") if kwargs["split"] == "train" else data

    monkeypatch.setattr(run, "open_dataset", renamed)
    result = CliRunner().invoke(main, ["--out", str(out), "--resume", "--epochs", "2"])
    assert_refused(result, "the classes of 'synthetic' have changed")


def test_a_checkpoint_is_not_overwritten_unasked(out):
    out.write_text("precious")
    assert_refused(command(out), "exists: go on with --resume, or overwrite it with --force")
    assert out.read_text() == "precious"
    assert command(out, "--force").exit_code == 0
    assert load_checkpoint(out).method_name == "dive"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nonsense"}, "unknown data set 'nonsense'"),
        ({"data": "elpv"}, "is a test set"),
        ({"split": "test"}, "is there to measure on"),
        ({"val": "nonsense"}, "unknown data set 'nonsense'"),
        ({"backbone": "zsad-test-smal"}, "unknown backbone"),
        ({"preset": "dove"}, "unknown preset 'dove' of dive: choose one of dive, dive-paper"),
        ({"method": "anomalyclip", "preset": "dive"}, "choose one of anomalyclip, anomalyclip-r"),
        ({"method": "anomalyclip", "abnormal_prompts": 2}, "has no option --abnormal-prompts"),
        ({"method": "anomalyclip", "descriptions": "a.json"}, "uses no --descriptions"),
        ({"method": "winclip"}, "make its artifact with zsad-export --method winclip"),
        ({"image_size": 60}, "60"),
        ({"epochs": 0}, "epochs must be positive"),
        ({"lr": -1}, "lr_prompts must be positive"),
        ({"abnormal_prompts": 0}, "abnormal_prompts must be positive"),
        ({"vv_from_block": 9}, "block 9 does not exist"),
        ({"descriptions": "none.json"}, "description file not found: none.json"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
        ({"lr": 1e30}, "is not a number"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(out, changes, message):
    assert_refused(command(out, **changes), message, out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data is missing"),
        (["--resume"], "nothing to resume"),
        (["--resume", "--force"], "give one of them"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(out, words, message):
    assert_refused(CliRunner().invoke(main, ["--out", str(out), *words]), message, out)


def test_data_without_defects_is_refused_before_training(out, tmp_path):
    for split, kind in (("train", "good"), ("test", "bent")):
        folder = tmp_path / "cup" / split / kind
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "0.png"), np.zeros((8, 8), np.uint8))
    mask = tmp_path / "cup/ground_truth/bent"
    mask.mkdir(parents=True)
    cv2.imwrite(str(mask / "0_mask.png"), np.ones((8, 8), np.uint8))
    result = command(out, data=f"mvtec:{tmp_path}", val="none")
    assert_refused(result, "split 'train', has no defective image to learn from")
    assert "--split all" in result.stderr
    assert command(out, data=f"mvtec:{tmp_path}", val="none", split="all").exit_code == 0


def test_an_out_in_no_folder_or_that_is_one_is_refused(tmp_path):
    assert_refused(command(tmp_path / "none" / "dive.pt"), "does not exist: make it first")
    assert_refused(command(tmp_path), "is a folder")


def test_resume_from_what_is_no_checkpoint_is_refused(out):
    out.write_text("nonsense")
    result = CliRunner().invoke(main, ["--out", str(out), "--resume"])
    assert_refused(result, "cannot be read as a checkpoint")


def test_no_validation_gives_no_figures(out):
    assert command(out, val="none").exit_code == 0
    curves = json.loads((out.parent / "dive.curves.json").read_text())
    assert curves["records"][0]["val"] == {}


def test_validation_images_are_the_same_for_every_seed(out, monkeypatch):
    opened = []
    original = run.open_dataset

    def recorded(*args, **kwargs):
        opened.append((kwargs["split"], kwargs["seed"]))
        return original(*args, **kwargs)

    monkeypatch.setattr(run, "open_dataset", recorded)
    assert command(out, seed=7).exit_code == 0
    assert opened == [("train", 7), ("val", 0)]


def test_help_waits_for_no_heavy_import():
    script = (
        "import sys\nfrom zsad_train.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'open_clip', 'cv2', 'PIL'} & set(sys.modules), 'heavy import'"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, env=environment)

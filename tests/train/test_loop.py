import dataclasses
import json
import threading

import numpy as np
import pytest
import torch

from zsad import resampling
from zsad.errors import InputError
from zsad.preprocess import PreprocessSpec
from zsad.resampling import resample
from zsad_train import loop
from zsad_train.batches import TrainingSamples
from zsad_train.checkpoint import build_method, load_checkpoint, trained_tensors
from zsad_train.config import TrainConfig
from zsad_train.epochs import Progress, curves_path
from zsad_train.loop import Interrupted, _loader, fit, make_optimizer, torch_device

FAST = TrainConfig(epochs=2, batch_size=4, lr_cross_attention=1e-3, lr_mlp=1e-3, device="cpu")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "dive.pt"


def train(make_dive, data, out, config=FAST, **kwargs):
    dive = make_dive()
    records = fit(dive, data, config, out, **kwargs)
    return dive, records


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def without_seconds(records):
    return [dataclasses.replace(record, seconds=0) for record in records]


def test_the_loss_falls_and_the_map_finds_the_squares(make_dive, squares, out):
    data = squares(count=16)
    _, records = train(make_dive, data, out, dataclasses.replace(FAST, epochs=12), val=data)
    assert records[-1].loss["total"] < 0.8 * records[0].loss["total"]
    assert records[-1].val["image_auroc"] > 0.95 and records[-1].val["pixel_auroc"] > 0.9


def test_two_runs_are_equal_to_the_bit(make_dive, squares, out):
    first, records = train(make_dive, squares(), out)
    second, again = train(make_dive, squares(), out)
    assert_same(trained_tensors(first), trained_tensors(second))
    assert without_seconds(records) == without_seconds(again)


def test_another_seed_takes_another_order(make_dive, squares, out):
    first, _ = train(make_dive, squares(), out)
    second, _ = train(make_dive, squares(), out, dataclasses.replace(FAST, seed=112))
    assert not torch.equal(first.normal.context, second.normal.context)


def test_every_epoch_has_an_order_of_its_own(make_dive, squares, out, monkeypatch):
    seen = []
    dive = make_dive()
    loss = dive.loss
    monkeypatch.setattr(dive, "loss", lambda b: seen.append(b.images.mean().item()) or loss(b))
    fit(dive, squares(), FAST, out)
    assert len(set(seen)) == 4


def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(make_dive, squares, out):
    whole, records = train(make_dive, squares(), out, val=squares(count=4))

    train(make_dive, squares(), out, dataclasses.replace(FAST, epochs=1), val=squares(count=4))
    checkpoint = load_checkpoint(out)
    resumed = build_method(checkpoint)
    progress = Progress.of(checkpoint.training, "dive.pt")
    again = fit(resumed, squares(), FAST, out, val=squares(count=4), progress=progress)

    assert_same(trained_tensors(whole), trained_tensors(resumed))
    assert without_seconds(records) == without_seconds(again)
    assert_same(load_checkpoint(out).state, trained_tensors(whole))


def test_ctrl_c_keeps_the_finished_epochs(make_dive, squares, out, monkeypatch):
    dive = make_dive()
    steps, loss = [], dive.loss

    def interrupted(batch):
        steps.append(batch)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return loss(batch)

    monkeypatch.setattr(dive, "loss", interrupted)
    with pytest.raises(Interrupted, match=r"epoch 1 is saved.*dive\.pt --resume") as caught:
        fit(dive, squares(), FAST, out)
    assert caught.value.exit_code == 130

    one, _ = train(make_dive, squares(), out.with_name("o.pt"), dataclasses.replace(FAST, epochs=1))
    assert_same(load_checkpoint(out).state, trained_tensors(one))


def test_ctrl_c_while_saving_counts_only_what_is_on_disk(make_dive, squares, out, monkeypatch):
    save = loop.save_checkpoint

    def interrupted(path, method, training):
        if len(training["records"]) == 2:
            raise KeyboardInterrupt
        save(path, method, training)

    monkeypatch.setattr(loop, "save_checkpoint", interrupted)
    with pytest.raises(Interrupted, match="epoch 1 is saved"):
        fit(make_dive(), squares(), FAST, out)
    assert len(load_checkpoint(out).training["records"]) == 1


def test_ctrl_c_in_the_first_epoch_leaves_nothing(make_dive, squares, out, monkeypatch):
    dive = make_dive()

    def interrupted(batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(dive, "loss", interrupted)
    with pytest.raises(Interrupted, match="nothing was written"):
        fit(dive, squares(), FAST, out)
    assert list(out.parent.iterdir()) == []


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_epoch(
    make_dive, squares, out, monkeypatch
):
    dive = make_dive()
    steps, loss = [], dive.loss

    def poisoned(batch):
        steps.append(batch)
        terms = loss(batch)
        return {**terms, "semantic": terms["semantic"] * float("nan" if len(steps) > 3 else "1")}

    monkeypatch.setattr(dive, "loss", poisoned)
    with pytest.raises(InputError, match=r"\(semantic is not a number in epoch 2.*epoch 1 is kept"):
        fit(dive, squares(), FAST, out)
    assert all(tensor.isfinite().all() for tensor in load_checkpoint(out).state.values())
    assert len(load_checkpoint(out).training["records"]) == 1


def test_weights_that_are_no_number_are_never_saved(make_dive, squares, out, monkeypatch):
    dive = make_dive()
    loss = dive.loss
    # The loss is finite, its gradient is not: only the weights show it.
    monkeypatch.setattr(
        dive, "loss", lambda b: {**loss(b), "bad": (dive.normal.context[:1] * 0).abs().sqrt().sum()}
    )
    with pytest.raises(InputError, match=r"normal\.context is not a number in epoch 1.*nothing"):
        fit(dive, squares(count=4), FAST, out)
    assert not out.exists()


def test_curves_hold_every_epoch_and_term(make_dive, squares, out):
    _, records = train(make_dive, squares(), out, val=squares(count=4), job={"data": "squares"})
    curves = json.loads(curves_path(out).read_text())
    assert curves["job"] == {"data": "squares"}
    assert [epoch["epoch"] for epoch in curves["records"]] == [1, 2]
    last = curves["records"][1]
    terms = {"state", "segmentation", "semantic", "disentangle", "prompt_norm"}
    assert last["loss"].keys() == terms | {"total"}
    assert last["loss"]["total"] == pytest.approx(sum(last["loss"][name] for name in terms))
    assert last["val"] == records[1].val and last["val"].keys() == {"image_auroc", "pixel_auroc"}
    assert last["seconds"] > 0


def test_the_mean_loss_weighs_images_not_batches(make_dive, squares, out, monkeypatch):
    dive = make_dive()
    anchor = dive.normal.context.sum() * 0
    monkeypatch.setattr(dive, "loss", lambda b: {"size": anchor + len(b.labels)})
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
    record = fit(dive, squares(count=6), dataclasses.replace(FAST, epochs=1), out)[0]
    assert record.loss["size"] == pytest.approx((4 * 4 + 2 * 2) / 6)


def test_learning_rates_are_the_groups_own(make_dive):
    config = dataclasses.replace(FAST, lr_prompts=1.0, lr_cross_attention=2.0, lr_mlp=3.0)
    dive = make_dive()
    optimizer = make_optimizer(dive, config)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(dive.coupling.weight)] == 1.0
    assert rates[id(dive.cross_attention[0].query.weight)] == 2.0
    assert rates[id(dive.state_branch[0].weight)] == 3.0
    assert optimizer.defaults["betas"] == (0.5, 0.999)


def test_the_backbone_stays_as_it_was(make_dive, squares, out):
    dive = make_dive()
    before = {n: t.clone() for n, t in dive.backbone.state_dict().items()}
    fit(dive, squares(), FAST, out)
    assert_same(before, dive.backbone.state_dict())


def test_gradient_checkpointing_is_on_while_training_only(make_dive, squares, out, monkeypatch):
    seen = []
    dive = make_dive()
    loss = dive.loss
    vision = dive.backbone.vision
    monkeypatch.setattr(dive, "loss", lambda b: seen.append(vision.grad_checkpointing) or loss(b))
    fit(dive, squares(), dataclasses.replace(FAST, grad_checkpointing=True), out)
    assert seen == [True] * 4 and vision.grad_checkpointing is False


@pytest.mark.parametrize("options", [{"grad_checkpointing": True}, {"workers": 1}])
def test_what_saves_memory_or_time_changes_no_result(make_dive, squares, out, options):
    config = dataclasses.replace(FAST, epochs=1)
    plain, _ = train(make_dive, squares(), out, config)
    other, _ = train(make_dive, squares(), out, dataclasses.replace(config, **options))
    for name, tensor in trained_tensors(plain).items():
        torch.testing.assert_close(tensor, trained_tensors(other)[name], msg=name)


class Resized(TrainingSamples):
    """Samples that resize a large frame, each with the threads of that in `class_ids`."""

    def __getitem__(self, index):
        resample(np.zeros((1500, 1500), np.uint8), 24, 24)
        names = [each.name for each in threading.enumerate()]
        count = sum(name.startswith("zsad-resample") for name in names)
        return super().__getitem__(index)._replace(class_ids=torch.tensor([count]))


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(resampling, "usable_cores", lambda: 4)
    resampling._threads.cache_clear()
    yield
    resampling._threads.cache_clear()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_worker_resizes_on_its_own_thread(squares, four_cores):
    samples = Resized(squares(), PreprocessSpec(height=24, width=24), ())
    assert samples[0].class_ids.item() > 0, "the training process has its pool"
    batches = _loader(samples, dataclasses.replace(FAST, workers=1))
    assert torch.cat([batch.class_ids for batch in batches]).tolist() == [0] * len(samples)


def test_bf16_trains_float32_weights_close_to_plain(make_dive, squares, out):
    config = dataclasses.replace(FAST, epochs=1)
    _, plain = train(make_dive, squares(), out, config)
    dive, records = train(make_dive, squares(), out, dataclasses.replace(config, amp="bf16"))
    assert {tensor.dtype for tensor in trained_tensors(dive).values()} == {torch.float32}
    assert records[0].loss["total"] == pytest.approx(plain[0].loss["total"], rel=0.02)
    assert records[0].loss["total"] != plain[0].loss["total"]


def test_a_checkpoint_without_training_state_cannot_be_resumed():
    with pytest.raises(InputError, match="holds no training state"):
        Progress.of({}, "dive.pt")


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        torch_device("abacus")


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch_size": -1}, {"lr_mlp": 0.0}, {"seed": -1}])
def test_a_config_that_could_not_train_is_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        TrainConfig(**bad)

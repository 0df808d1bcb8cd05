import dataclasses
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import identities
from identities import check_same, saving, table
from identity_forms import Pair, mirrored, pairs
from rounds import Round
from zsad_train.towers import load_backbone


def test_every_identity_is_timed_against_what_it_replaces(tmp_path):
    path = tmp_path / "identities.json"
    words = ["--backbone", "tiny", "--rounds", "2", "--runs", "1", "--warm-up", "0"]
    result = CliRunner().invoke(identities.main, [*words, "--threads", "1", "--json", str(path)])
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    savings = record["savings"]
    assert [len(each["order"]) for each in record["rounds"]] == [1 + 4 * 6] * 2
    assert len(savings) == 6
    for each in savings:
        assert each["naive_gflop"] >= each["gflop"] > 0
        assert each["lowest"] <= each["times_faster"] <= each["highest"]
        assert each["identity"] in result.output
    by_name = {each["identity"]: each for each in savings}
    softmax = by_name["softmax over two states = sigmoid of one product"]
    assert softmax["naive_gflop"] * 1e9 == 2 * 196 * 128 * 2
    assert softmax["gflop"] * 1e9 == 2 * 196 * 128
    smooth = by_name["resize and Gaussian = A m A^T"]
    assert smooth["gflop"] * 1e9 == 2 * 224 * 14 * 14 + 2 * 224 * 14 * 224


def test_both_forms_are_the_same():
    for pair in pairs(load_backbone("tiny", pos_resize="bilinear")):
        check_same(pair)


def test_forms_that_differ_stop_it():
    pair = Pair("ones = zeros", nn.Identity(), nn.ReLU(), torch.tensor([-1.0, 1.0]))
    with pytest.raises(RuntimeError, match="the forms of 'ones = zeros' differ by 1"):
        check_same(pair)
    check_same(dataclasses.replace(pair, example=torch.tensor([1.0, 2.0])))


def test_what_is_saved_counts_as_often_as_an_image_meets_it():
    pair = Pair("part", nn.Identity(), nn.Identity(), torch.zeros(1), times=3)
    ms = {"the vision tower": 100.0, "naive part": 4.0, "ours part": 2.0}
    eager = {"eager naive part": 9.0, "eager ours part": 3.0}
    medians = {name: {"total": value} for name, value in (ms | eager).items()}
    # The machine is half as fast in the second round, and one form has bad luck in the third.
    slow = {name: {"total": 2 * each["total"]} for name, each in medians.items()}
    unlucky = medians | {"ours part": {"total": 4.0}}
    rounds = [Round(tuple(each), each) for each in (medians, slow, unlucky)]
    found = saving(pair, rounds, 2 * 10**9, 10**9)
    assert (found.naive_ms, found.ms, found.saved_share) == (12.0, 12.0, 0.0)
    assert (found.times_faster, found.lowest, found.highest) == (2.0, 1.0, 2.0)
    assert (found.eager_times_faster, found.naive_gflop, found.gflop) == (3.0, 6.0, 3.0)
    assert table([found]).splitlines()[2] == (
        "| part | 12.00 | 12.00 | 2.00 | 1.00 to 2.00 | 3.00 | 0.0% | 6.000 -> 3.000 |"
    )


@pytest.mark.parametrize(("size", "radius"), [(5, 2), (5, 5), (3, 8)])
def test_a_border_is_mirrored_as_numpy_does(size, radius):
    expected = np.pad(np.arange(size), radius, mode="symmetric")
    np.testing.assert_array_equal(mirrored(size, radius), expected)

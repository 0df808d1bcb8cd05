import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import resample
from zsad.data import open_dataset


@pytest.fixture
def brains(tmp_path):
    for folder, count in (("no", 98), ("yes", 20)):
        where = tmp_path / "brain_tumor_dataset" / folder
        where.mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(where / f"{index}.png"), np.zeros((2, 2), np.uint8))
    return f"brainmri:{tmp_path}"


def call(*arguments):
    return CliRunner().invoke(resample.main, [str(argument) for argument in arguments])


def test_dives_counts_are_kept_in_a_list(brains, tmp_path):
    out = tmp_path / "list.json"
    result = call(brains, "--out", out)
    assert result.exit_code == 0, result.output
    assert "98 normal and 10 anomalous samples of brainmri (DIVE Table 4, test)" in result.output
    assert json.loads(out.read_text())["rule"] == "DIVE Table 4, test"
    assert sum(open_dataset(f"list:{out}:{brains}").labels) == 10


@pytest.mark.parametrize(
    ("options", "anomalous"), [(("--counts", 7, 3), 3), (("--ratio", "0.05"), 5)]
)
def test_other_counts_can_be_given(brains, tmp_path, options, anomalous):
    out = tmp_path / "list.json"
    assert call(brains, "--out", out, *options).exit_code == 0
    assert sum(open_dataset(f"list:{out}:{brains}").labels) == anomalous


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--counts", 7, 3, "--ratio", "0.1"), "not both"),
        (("--counts", 7, 30), "has 98 normal and 20 anomalous samples"),
        (("--split", "train"), "no split 'train' of 'brainmri'"),
    ],
)
def test_nothing_is_written_where_nothing_can_be_chosen(brains, tmp_path, options, words):
    out = tmp_path / "list.json"
    result = call(brains, "--out", out, *options)
    assert result.exit_code == 2 and words in result.output and not out.exists()

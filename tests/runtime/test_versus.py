"""What an evaluation keeps per image, and the comparison of two evaluations that it allows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from zsad.data import Sample
from zsad.errors import InputError
from zsad.evaluate import (
    compare_evaluations,
    examine,
    read_evaluation,
    versus_text,
    write_examination,
    write_versus,
)
from zsad.evaluate.evidence import read_evidence
from zsad.types import AnomalyResult

SIDE = 16


class Parts:
    """Grey squares of two classes; every second one has a brighter spot."""

    name, classes, has_masks = "squares", ("plate", "ring"), True

    def __init__(self, n=24, order=None, masks=True, change=None):
        self.indices = list(range(n)) if order is None else order
        self.masks, self.change = masks, change or {}

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, at):
        index = self.indices[at]
        rng = np.random.default_rng(index)
        mask = np.zeros((SIDE, SIDE), bool)
        if index % 2:
            mask[3:7, 5:9] = True
        grey = rng.normal(100, 8, mask.shape) + 12 * mask
        image = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        kind = "plate" if index % 4 < 2 else "ring"
        defect = "spot" if index % 2 else "good"
        sample = Sample(
            image, mask if self.masks else None, index % 2, kind, defect, f"part{index}"
        )
        return replace(sample, **self.change.get(index, {}))


class Noisy:
    """The grey level plus noise that is the same for the same image."""

    def __init__(self, noise, step=1):
        self.noise, self.step = noise, step

    def predict(self, frame_bgr):
        rng = np.random.default_rng(int(frame_bgr.sum()))
        levels = frame_bgr[:: self.step, :: self.step, 0] / 255
        noisy = levels + self.noise * rng.normal(size=levels.shape)
        anomaly_map = noisy.clip(0, 1).astype(np.float32)
        return AnomalyResult(float(np.sort(anomaly_map, axis=None)[-16:].mean()), anomaly_map)


@pytest.fixture
def written(tmp_path):
    def write(name, noise=0.0, step=1, **data):
        found = examine(
            Noisy(noise, step), Parts(**data), subject={"name": f"noise {noise}"}, draws=60
        )
        write_examination(tmp_path / f"{name}.json", found)
        return tmp_path / f"{name}.json"

    return write


def test_evidence_is_read_back_and_gives_the_figures_again(written):
    path = written("a")
    evaluation = read_evaluation(path)
    evidence = read_evidence(path, evaluation)
    assert len(evidence.images) == 24
    assert {name: len(counts.images) for name, counts in evidence.maps.items()} == {
        "plate": 12,
        "ring": 12,
    }
    first = json.loads(path.with_suffix(".scores.jsonl").read_text().splitlines()[0])
    assert list(first) == ["name", "class_name", "label", "score"]
    assert first["name"] == "part0"
    pixels = evidence.maps["plate"].pixels
    assert pixels[:, :2].sum() == 12 * SIDE * SIDE


def test_the_same_evaluation_writes_the_same_bytes(written):
    one, two = written("a"), written("b")
    for suffix in (".scores.jsonl", ".counts.npz", ".html"):
        assert one.with_suffix(suffix).read_bytes() == two.with_suffix(suffix).read_bytes()


def test_an_evaluation_does_not_differ_from_itself(written):
    versus = compare_evaluations(written("a"), written("b"))
    for row in versus.differences:
        for figure in row.figures.values():
            assert (figure.value, figure.low, figure.high) == (0, 0, 0)


def test_differences_are_those_of_the_figures_and_paired(written):
    a, b = written("a", 0.02), written("b", 0.03)
    versus = compare_evaluations(a, b)
    first, second = read_evaluation(a).mean.figures, read_evaluation(b).mean.figures
    difference = versus.differences[-1].figures
    for name, figure in difference.items():
        assert figure.value == pytest.approx(first[name].value - second[name].value)
        assert figure.low <= figure.high
    assert [row.name for row in versus.differences] == ["plate", "ring", "mean"]
    width = difference["pixel_auroc"].high - difference["pixel_auroc"].low
    apart = np.hypot(*(s["pixel_auroc"].high - s["pixel_auroc"].low for s in (first, second)))
    assert 0 < width < 1.5 * apart
    assert versus.a_mean == first


def test_a_model_that_sees_less_is_found_out(written):
    versus = compare_evaluations(written("a", 0.0), written("b", 0.3))
    figure = versus.differences[-1].figures["pixel_auroc"]
    assert figure.low > 0.05
    assert "+" in versus_text(versus)


def test_the_order_of_the_images_does_not_matter(written):
    a, b = written("a", 0.02), written("b", 0.03)
    shuffled = written("c", 0.03, order=list(np.random.default_rng(0).permutation(24)))
    straight, other = compare_evaluations(a, b), compare_evaluations(a, shuffled)
    for ours, theirs in zip(straight.differences, other.differences, strict=True):
        for name, figure in ours.figures.items():
            assert (figure.value, figure.low) == pytest.approx(
                (theirs.figures[name].value, theirs.figures[name].low)
            )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"n": 20}, r"image 'part20' is in .*a.json, but not in .*b.json"),
        ({"n": 25}, r"image 'part24' is in .*b.json, but not in .*a.json"),
        (
            {"change": {3: {"class_name": "plate"}}},
            r"image 'part3' is a defective ring in .*a.json, a defective plate in .*b.json",
        ),
        ({"change": {8: {"label": 1}}}, r"image 'part8' is a good plate in .*a defective plate in"),
    ],
)
def test_other_images_are_refused_and_the_first_difference_named(written, data, message):
    a, b = written("a"), written("b", **data)
    with pytest.raises(InputError, match=message):
        compare_evaluations(a, b)


def test_two_images_of_one_name_are_told_apart_by_their_masks(written):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[3:7, 5:10] = True
    a, b = written("a"), written("b", change={5: {"mask": mask}})
    with pytest.raises(InputError, match=r"'part5' has 16 defective pixels in .*a\.json, 20 in"):
        compare_evaluations(a, b)


def test_maps_of_another_size_leave_image_figures(written):
    versus = compare_evaluations(written("a"), written("b", step=2))
    figures = versus.differences[-1].figures
    assert figures["image_auroc"] is not None
    assert figures["pixel_auroc"] is None
    assert "the two anomaly maps differ in size" in versus_text(versus)


def test_without_masks_image_figures_are_compared(written):
    versus = compare_evaluations(written("a", masks=False), written("b", 0.2, masks=False))
    assert versus.differences[-1].figures["image_auroc"].value > 0
    assert "pixel" not in versus_text(versus)


def test_evidence_of_another_run_is_refused(written):
    a, b = written("a"), written("b", 0.1)
    b.with_suffix(".scores.jsonl").replace(a.with_suffix(".scores.jsonl"))
    with pytest.raises(InputError, match=r"a.scores.jsonl is not the one that a.json was written"):
        compare_evaluations(a, b)


def test_missing_evidence_is_named(written):
    a, b = written("a"), written("b")
    b.with_suffix(".counts.npz").unlink()
    with pytest.raises(InputError, match=r"b.counts.npz is missing: it belongs beside b.json"):
        compare_evaluations(a, b)


def test_an_evaluation_of_schema_1_cannot_be_compared(written, tmp_path):
    a = written("a")
    record = json.loads(a.read_text())
    del record["evidence"]
    old = tmp_path / "old.json"
    old.write_text(json.dumps({**record, "schema": 1}))
    with pytest.raises(InputError, match=r"old.json keeps no scores per image \(schema 1\)"):
        compare_evaluations(a, old)


def test_a_comparison_is_written_as_json_and_markdown(written, tmp_path):
    versus = compare_evaluations(written("a"), written("b", 0.1))
    write_versus(tmp_path / "ab.json", versus)
    record = json.loads((tmp_path / "ab.json").read_text())
    value = versus.differences[-1].figures["aupro"].value
    assert record["differences"][-1]["figures"]["aupro"]["value"] == value
    assert "| A - B |" in (tmp_path / "ab.md").read_text()

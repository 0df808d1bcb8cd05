import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from zsad.data import Sample
from zsad.errors import InputError
from zsad.evaluate import (
    evaluate,
    examine,
    markdown,
    measure,
    read_evaluation,
    text_table,
    write_evaluation,
)
from zsad.evaluate.reading import read_ahead
from zsad.metrics import aupro, auroc, pixel_ap, pixel_auroc, pixel_f1_max, rcpro
from zsad.metrics.pixel_counts import pixel_counts
from zsad.types import AnomalyResult, Verdict

SUBJECT = {"name": "mean grey"}


@dataclass
class ListDataset:
    samples: list
    name: str = "made by the test"
    classes: tuple = ()
    has_masks: bool = True

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class GreyPredictor:
    """Score = mean grey level / 255, map = grey level / 255, at a fixed size by slicing."""

    def __init__(self, step=1, threshold=None):
        self.step, self.threshold, self.seen = step, threshold, 0

    def predict(self, frame_bgr):
        self.seen += 1
        anomaly_map = frame_bgr[:: self.step, :: self.step, 0].astype(np.float32) / 255
        score = float(anomaly_map.mean())
        if self.threshold is None:
            return AnomalyResult(score, anomaly_map)
        is_anomalous = score > self.threshold
        verdict = Verdict.NG if is_anomalous else Verdict.OK
        return AnomalyResult(score, anomaly_map, verdict, is_anomalous, self.threshold)


def sample(index, class_name="plate", defective=False, brightness=100, contrast=60, size=24):
    rng = np.random.default_rng([index, len(class_name)])
    grey = rng.normal(brightness, 4, (size, size))
    mask = np.zeros((size, size), bool)
    if defective:
        mask[4:12, 6:16] = True
        grey[mask] += contrast
    image = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    defect = "blob" if defective else "good"
    return Sample(image, mask, int(defective), class_name, defect, f"{class_name}/{index}")


def parts(class_name="plate", n=12, **options):
    return [sample(i, class_name, defective=i % 2 == 1, **options) for i in range(n)]


def without_masks(samples):
    return ListDataset([dataclasses.replace(s, mask=None) for s in samples], has_masks=False)


def run(dataset, predictor=None, **options):
    return evaluate(predictor or GreyPredictor(), dataset, subject=SUBJECT, draws=50, **options)


def test_figures_are_the_metrics_of_the_scores_and_maps():
    samples = parts(contrast=6)
    found = run(ListDataset(samples))
    maps = np.stack([s.image_bgr[..., 0] / np.float32(255) for s in samples])
    masks = np.stack([s.mask for s in samples])
    labels = np.array([s.label for s in samples])
    figures = found.mean.figures
    assert figures["image_auroc"].value == auroc(maps.mean(axis=(1, 2)), labels)
    assert figures["pixel_auroc"].value == pixel_auroc(maps, masks)
    assert figures["pixel_ap"].value == pixel_ap(maps, masks)
    assert figures["pixel_f1_max"].value == pixel_f1_max(maps, masks).f1
    assert figures["aupro"].value == aupro(maps, masks, 0.3)
    assert figures["rcpro"].value == pytest.approx(rcpro(maps, masks), abs=1e-12)
    assert (found.mean.n_good, found.mean.n_defective) == (6, 6)
    for figure in figures.values():
        assert figure.low <= figure.value <= figure.high
    assert 0.5 < figures["pixel_auroc"].low < figures["pixel_auroc"].high < 1


def test_the_mean_is_over_classes_not_over_images():
    # One class is ranked perfectly, the other the wrong way round; pooled it would not be 0.5.
    samples = parts("plate", 20, brightness=60) + parts("a long name", 6, contrast=-60)
    found = run(ListDataset(samples))
    by_class = {row.name: row.figures["image_auroc"].value for row in found.classes}
    assert by_class == {"plate": 1.0, "a long name": 0.0}
    assert found.mean.figures["image_auroc"].value == 0.5


def test_a_model_that_is_the_floor_has_no_margin():
    # Brighter means defective: the floor finds `+ mean` or better, the model is the mean.
    found = run(without_masks(parts(contrast=60)))
    assert found.floor.figures["image_auroc"].value == 1.0
    margin = found.margin["image_auroc"]
    assert (margin.value, margin.low, margin.high) == (0, 0, 0)


def test_the_margin_is_paired():
    found = run(without_masks(parts(n=60, contrast=1)))
    model, floor = found.mean.figures["image_auroc"], found.floor.figures["image_auroc"]
    margin = found.margin["image_auroc"]
    assert margin.value == pytest.approx(model.value - floor.value)
    assert model.value < 0.9, "a perfect ranking would have no spread to compare"
    unpaired = np.hypot(model.high - model.low, floor.high - floor.low)
    assert margin.high - margin.low < 0.8 * unpaired


def test_without_masks_there_are_image_figures_only():
    found = run(without_masks(parts()))
    assert found.mean.figures["pixel_auroc"] is None
    assert (found.pixel_floor, found.map_hw, found.lost_masks) == (None, None, 0)
    assert "pixel" not in text_table(found)


def test_defective_images_only_give_pixel_figures_only():
    found = run(ListDataset([sample(i, defective=True) for i in range(4)]))
    assert found.mean.figures["image_auroc"] is None
    assert found.image_floor is None
    assert found.mean.figures["pixel_auroc"].value > 0.99
    assert "image" not in text_table(found).splitlines()[0]


def test_a_class_with_one_label_is_left_out_of_the_mean_only():
    lone = [sample(i, "good only") for i in range(3)]
    found = run(without_masks(parts() + lone))
    assert [row.name for row in found.classes] == ["good only", "plate"]
    assert found.classes[0].figures["image_auroc"] is None
    assert found.mean.figures["image_auroc"] == found.classes[1].figures["image_auroc"]
    assert found.mean.n_good == 9


def test_good_images_only_cannot_be_evaluated():
    with pytest.raises(InputError, match="no class with both good and defective"):
        run(ListDataset([sample(i) for i in range(3)]))


def test_masks_are_compared_at_the_size_of_the_map():
    found = run(ListDataset(parts()), GreyPredictor(step=2))
    assert found.map_hw == (12, 12)
    assert found.mean.figures["pixel_auroc"].value > 0.95


def test_a_defect_too_small_for_the_map_is_counted_as_lost():
    speck = sample(1, defective=True)
    mask = np.zeros_like(speck.mask)
    mask[5, 5] = True
    samples = [*parts(), dataclasses.replace(speck, mask=mask, name="speck")]
    found = run(ListDataset(samples), GreyPredictor(step=4))
    assert found.lost_masks == 1
    assert "1 defects are too small" in text_table(found)


def test_pixel_figures_are_exact_however_coarse_the_bins_of_the_bootstrap(monkeypatch):
    dataset = ListDataset(parts(contrast=6))
    fine = run(dataset).mean.figures["pixel_auroc"]
    monkeypatch.setattr(
        measure, "pixel_counts", lambda maps, masks: pixel_counts(maps, masks, bins=4)
    )
    coarse = run(dataset).mean.figures["pixel_auroc"]
    assert coarse.value == fine.value
    assert coarse.low == pytest.approx(fine.low, abs=0.02)
    assert coarse.low < coarse.value < coarse.high


def test_excluded_images_are_neither_judged_nor_counted():
    samples = parts(n=12)
    names = {s.name for s in samples[:4]}
    predictor = GreyPredictor()
    found = run(ListDataset(samples), predictor, exclude=names)
    assert predictor.seen == 8
    assert found.n_excluded == 4
    assert (found.mean.n_good, found.mean.n_defective) == (4, 4)
    assert found.mean == run(ListDataset(samples[4:])).mean


def test_a_list_of_names_of_another_set_is_an_error():
    with pytest.raises(InputError, match="none of the 2 excluded names, such as 'cell0001'"):
        run(ListDataset(parts()), exclude=["cell0001", "cell0002"])


def test_decisions_count_rejected_good_and_passed_defective_images():
    samples = [
        sample(0, brightness=100),
        sample(2, brightness=140),
        sample(4, brightness=150),
        sample(1, brightness=150, defective=True),
        sample(3, brightness=90, defective=True),
        sample(5, brightness=95, defective=True),
    ]
    decisions = run(ListDataset(samples), GreyPredictor(threshold=130 / 255)).decisions
    assert (decisions.good, decisions.good_rejected) == (3, 2)
    assert (decisions.defective, decisions.defective_passed) == (3, 2)


def test_the_same_seed_gives_the_same_evaluation():
    dataset = ListDataset(parts(contrast=4))
    assert run(dataset, seed=1) == run(dataset, seed=1)
    assert run(dataset, seed=1).mean != run(dataset, seed=2).mean


def test_scores_that_are_no_number_name_their_image():
    class Broken(GreyPredictor):
        def predict(self, frame_bgr):
            return dataclasses.replace(super().predict(frame_bgr), score=float("nan"))

    with pytest.raises(InputError, match="image 'plate/0' got the score nan"):
        run(ListDataset(parts()), Broken())


def test_maps_that_are_no_numbers_name_their_image_even_without_masks():
    class Broken(GreyPredictor):
        def predict(self, frame_bgr):
            result = super().predict(frame_bgr)
            if self.seen == 3:
                result.anomaly_map[0, 0] = np.inf
            return result

    for dataset in (ListDataset(parts()), without_masks(parts())):
        with pytest.raises(InputError, match="image 'plate/2' got a map with values that are no"):
            run(dataset, Broken())


class Constant(GreyPredictor):
    def predict(self, frame_bgr):
        return AnomalyResult(0.5, np.full(frame_bgr.shape[:2], 0.5, np.float32))


def test_constant_maps_are_chance_and_have_no_rcpro_which_is_said():
    found = run(ListDataset(parts("plate") + parts("ring")), Constant())
    figures = found.mean.figures
    assert {k: figures[k].value for k in ("image_auroc", "pixel_auroc")} == {
        "image_auroc": 0.5,
        "pixel_auroc": 0.5,
    }
    assert figures["aupro"].value == pytest.approx(0.15)
    assert figures["rcpro"] is None
    assert found.floor.figures["rcpro"] is not None
    assert "no RCPRO, and no part in its mean: plate, ring" in text_table(found)


def test_a_class_without_rcpro_has_no_part_in_its_margin():
    class Half(GreyPredictor):
        def predict(self, frame_bgr):
            constant = frame_bgr[0, 0, 0] > 150
            return (Constant() if constant else super()).predict(frame_bgr)

    bright = parts("ring", brightness=200, contrast=-60)
    found = run(ListDataset(parts("plate", contrast=6) + bright), Half())
    plate, ring = (row.figures["rcpro"] for row in found.classes)
    assert ring is None
    assert found.mean.figures["rcpro"] == plate
    floor = found.floor_classes[0].figures["rcpro"]
    assert found.margin["rcpro"].value == pytest.approx(plate.value - floor.value)
    assert "no part in its mean: ring;" in text_table(found)


def test_a_class_that_is_defective_everywhere_has_no_pixel_figures():
    samples = [
        dataclasses.replace(s, mask=np.ones_like(s.mask), class_name="flooded", name=f"f{i}")
        for i, s in enumerate(parts()[1::2])
    ]
    found = run(ListDataset(parts() + samples))
    flooded, plate = found.classes
    assert flooded.name == "flooded"
    assert set(flooded.figures.values()) == {None}
    assert found.mean.figures["aupro"] == plate.figures["aupro"]


def test_defective_images_only_give_every_pixel_figure_with_an_interval():
    # Two of the images are all defect: a resample of only those two has no normal pixel.
    samples = [sample(i, defective=True, contrast=6) for i in range(3)]
    samples[:2] = [dataclasses.replace(s, mask=np.ones_like(s.mask)) for s in samples[:2]]
    figures = run(ListDataset(samples)).mean.figures
    for name in ("pixel_auroc", "aupro", "rcpro"):
        assert 0 <= figures[name].low <= figures[name].high <= 1


def test_two_images_of_one_name_are_an_error():
    with pytest.raises(InputError, match="two images are named 'plate/3'"):
        run(ListDataset([*parts(), sample(3, defective=True)]))


def test_workers_change_nothing():
    dataset = ListDataset(parts(contrast=6) + parts("ring", contrast=4))
    alone, three = (
        examine(GreyPredictor(), dataset, subject=SUBJECT, draws=50, workers=n) for n in (0, 3)
    )
    assert alone.evaluation == three.evaluation
    assert alone.evidence.files() == three.evidence.files()
    assert alone.cases.false_alarms == three.cases.false_alarms


class InBatches(GreyPredictor):
    def __init__(self):
        super().__init__()
        self.sizes = []

    def predict_batch(self, frames_bgr):
        self.sizes.append(len(frames_bgr))
        return [self.predict(frame) for frame in frames_bgr]


def test_the_size_of_a_batch_changes_nothing():
    dataset, calls = ListDataset(parts(contrast=6)), []
    predictor = InBatches()
    batched = run(
        dataset, predictor, batch=5, exclude=["plate/2"], progress=lambda: calls.append(1)
    )
    assert predictor.sizes == [4, 5, 2]
    assert len(calls) == 12
    assert batched == run(dataset, exclude=["plate/2"])


def test_a_predictor_without_batches_is_named():
    with pytest.raises(InputError, match="one image at a time: a batch of 4"):
        run(ListDataset(parts()), batch=4)


def test_workers_read_ahead_but_not_without_bound():
    class Slow(ListDataset):
        read = 0

        def __getitem__(self, index):
            Slow.read += 1
            return super().__getitem__(index)

    samples = read_ahead(Slow(parts(n=40)), 2)
    assert [next(samples).name for _ in range(3)] == ["plate/0", "plate/1", "plate/2"]
    assert 3 <= Slow.read <= 3 + 2 * 2 + 1
    samples.close()


def test_an_image_that_cannot_be_read_is_an_error_with_workers_too():
    class Broken(ListDataset):
        def __getitem__(self, index):
            if index == 5:
                raise InputError("cannot read plate/5")
            return super().__getitem__(index)

    with pytest.raises(InputError, match="cannot read plate/5"):
        run(Broken(parts()), workers=2)


def test_maps_of_two_sizes_are_an_error():
    samples = [sample(0), sample(1, defective=True, size=30)]
    with pytest.raises(InputError, match="30x30, those before of"):
        run(ListDataset(samples))


def test_what_is_written_can_be_read_back(tmp_path):
    found = run(ListDataset(parts("plate") + parts("ring")))
    write_evaluation(tmp_path / "eval.json", found)
    assert read_evaluation(tmp_path / "eval.json") == found
    assert (tmp_path / "eval.md").read_text() == markdown(found)


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "eval.json"
    path.write_text('{"schema": 3}')
    with pytest.raises(InputError, match="schema 1 to 2"):
        read_evaluation(path)


def test_tables_show_every_class_the_mean_and_the_floor_in_percent():
    found = run(ListDataset(parts("plate") + parts("ring")))
    head, _, *rows = text_table(found).splitlines()
    assert head.split()[:3] == ["class", "good", "defective"]
    assert [row.split()[0] for row in rows[:4]] == ["plate", "ring", "mean", "floor"]
    assert rows[0].split()[1:4] == ["6", "6", "100.0"]
    assert found.image_floor in text_table(found)
    assert "| over the floor |" in markdown(found)


def test_few_images_come_with_a_warning():
    warning = "fewer than 20 good or defective images"
    assert warning in text_table(run(without_masks(parts(n=38))))
    assert warning not in text_table(run(without_masks(parts(n=40))))


def test_the_classes_are_named_as_they_are_measured():
    names = []
    examine(
        GreyPredictor(),
        ListDataset(parts("ring") + parts("plate")),
        subject=SUBJECT,
        draws=10,
        measuring=names.append,
    )
    assert names == ["plate", "ring"]


def test_progress_is_called_once_per_image():
    calls = []
    run(ListDataset(parts()), exclude=["plate/0"], progress=lambda: calls.append(1))
    assert len(calls) == 12

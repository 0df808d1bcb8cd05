"""The pass over a data set: what is judged, in which order, and which answers are refused."""

import dataclasses

import numpy as np
import pytest
from made_parts import SUBJECT, GreyPredictor, ListDataset, parts, run, sample, without_masks

from zsad.errors import InputError
from zsad.evaluate import examine
from zsad.evaluate.reading import read_ahead


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

"""Several parts of one data set, each image judged once."""

import pytest
from made_parts import SUBJECT, GreyPredictor, ListDataset, parts, run, sample, without_masks

from zsad.data.subset import subset
from zsad.errors import InputError
from zsad.evaluate import collect, evaluate_parts


@pytest.fixture
def counted(monkeypatch):
    """Names of the images whose statistics were taken."""
    taken = []
    plain = collect.image_statistics
    monkeypatch.setattr(
        collect, "image_statistics", lambda frame: taken.append(frame) or plain(frame)
    )
    return taken


def drawn(whole, *indices):
    return subset(whole, indices, seed=0)


def test_parts_have_the_figures_that_each_has_alone(counted):
    whole = without_masks(parts(n=24, contrast=2) + parts("ring", n=24, contrast=1))
    draws = [
        drawn(whole, *range(0, 48, 3), 1, 5),
        drawn(whole, *range(30)),
        drawn(whole, *range(48)),
    ]
    predictor = GreyPredictor()
    found = evaluate_parts(predictor, whole, draws, subject=SUBJECT, draws=50)
    assert predictor.seen == len(counted) == 48
    assert found == [run(each) for each in draws]
    assert len({each.floor.figures["image_auroc"].value for each in found}) > 1
    assert [each.mean.n_good + each.mean.n_defective for each in found] == [18, 30, 48]


def test_verdicts_of_a_part_are_counted():
    whole = without_masks(parts())
    (found,) = evaluate_parts(
        GreyPredictor(threshold=0.4), whole, [drawn(whole, 0, 1, 2)], subject=SUBJECT, draws=5
    )
    assert found.decisions == run(drawn(whole, 0, 1, 2), GreyPredictor(threshold=0.4)).decisions


def test_a_part_of_another_set_is_an_error():
    whole, other = without_masks(parts()), without_masks([*parts(n=2), sample(40)])
    with pytest.raises(InputError, match="image 'plate/40' of other is not in the whole set"):
        other.name = "other"
        evaluate_parts(GreyPredictor(), whole, [other], subject=SUBJECT)


def test_a_set_with_masks_is_refused():
    whole = ListDataset(parts())
    with pytest.raises(InputError, match="has masks: evaluate its parts one by one"):
        evaluate_parts(GreyPredictor(), whole, [whole], subject=SUBJECT)

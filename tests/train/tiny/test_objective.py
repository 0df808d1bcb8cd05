from dataclasses import replace

import torch

from zsad_train.tiny.batches import batches
from zsad_train.tiny.objective import Objective, Weights, _true_of
from zsad_train.tiny.training import Training
from zsad_train.tiny.views import Views


def test_captions_are_true_of_images_of_their_class_and_type(recipe, cache):
    batch = next(iter(batches(cache, recipe.config, Views(), 4, 3, range(1))))
    given = {
        "classes": ("wood", "wood", "pill"),
        "types": torch.tensor([1, 2, 1]),
        "generic": torch.tensor([False, False, True]),
    }
    truth = _true_of(replace(batch, **given))
    assert truth.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_the_dense_loss_falls_when_defective_patches_move_to_the_damaged_text(recipe):
    objective = Objective(Training(recipe).model, Weights())
    normal, damaged = torch.eye(2)[:1], torch.eye(2)[1:]
    covered = torch.tensor([[0.0, 0.5, 0.0]])
    right = torch.tensor([[[1.0, 0], [0, 1], [1, 0]]])
    wrong = right.flip(-1)
    assert objective._dense_loss(right, normal, damaged, covered) < 1e-4
    assert objective._dense_loss(wrong, normal, damaged, covered) > 5

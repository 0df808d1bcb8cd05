import pytest
import torch

from zsad_train.tiny import words
from zsad_train.tiny.config import MEAN, STD, VOCABULARY, tokenizer
from zsad_train.tiny.teacher import CHANNELS, Pupil, Teacher


@pytest.fixture(scope="module")
def teacher():
    return Teacher()


def picture(striped):
    """Stripes in the given columns, nothing elsewhere."""
    image = torch.full((3, 128, 128), 0.5)
    image[:, ::4, striped] = 0.9
    return (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def test_features_are_standardised_and_lie_where_the_patches_lie(teacher):
    seen = teacher.features(torch.stack([picture(slice(64, 128)), picture(slice(0, 64))]))
    assert seen.shape == (2, 64, CHANNELS)
    assert seen.mean((0, 1)).abs().max() < 1e-4
    grids = seen.reshape(2, 8, 8, CHANNELS)
    alike = (grids[0, 3, 6] - grids[1, 3, 2]).norm()
    unlike = (grids[0, 3, 6] - grids[0, 3, 2]).norm()
    assert alike < 0.6 * unlike


def test_the_teacher_is_trained_and_fixed(teacher):
    network = teacher._network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    # A trained first layer answers to colour and edges; a random one is small and alike.
    assert network._conv_stem.weight.abs().max() > 0.5


def test_a_pupil_that_knows_nothing_pays_one(teacher):
    taught = teacher.features(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    pupil = Pupil(8)
    torch.nn.init.zeros_(pupil.read.weight)
    torch.nn.init.zeros_(pupil.read.bias)
    assert pupil.loss(torch.randn(2, 16, 8), taught).item() == pytest.approx(1.0, abs=0.05)


def test_word_rows_keep_the_encoder_s_neighbours(monkeypatch):
    vocabulary = tokenizer()

    def encoder(entries):
        table = torch.zeros(len(entries), 384)
        table[:, 0] = torch.tensor([float(len(entry)) for entry in entries])
        table[:, 1] = torch.tensor([float("a" in entry) for entry in entries])
        return table

    monkeypatch.setattr(words, "embed_words", encoder)
    rows = words.word_rows(4)
    assert rows.shape == (VOCABULARY, 4)
    assert rows[:-2].std() == pytest.approx(0.02, rel=1e-3)
    assert not rows[-2:].any()
    crack, track, house = (
        rows[vocabulary.encoder[f"{w}</w>"]] for w in ("crack", "track", "dents")
    )
    assert torch.allclose(crack, track, atol=1e-5) and not torch.allclose(crack, house, atol=1e-3)

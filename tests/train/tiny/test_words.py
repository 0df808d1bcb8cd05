import pytest
import torch

from zsad_train.tiny import words
from zsad_train.tiny.config import VOCABULARY, tokenizer


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

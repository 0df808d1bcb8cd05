"""Prompts about defect types, half learned and half words, which users may change (DAPO).

Every state is several prompts `[learned tokens] words`, whose embeddings are averaged. The learned
tokens are one set for normality and one for all defect types alike: what is learned about defects
is not tied to a word.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsad_train.methods.dapo_config import DapoConfig
from zsad_train.prompts import PLACEHOLDER, check_fits
from zsad_train.similarity import unit
from zsad_train.towers import Backbone, InsertedTokens, TextTower


@dataclass(frozen=True)
class Sentences:
    """Tokenized prompts, placeholders where learned tokens go.

    Attributes:
        ids: (n, L) int64.
        end: (n,) int64, position of each end-of-text token.
    """

    ids: Tensor
    end: Tensor


class TypePrompts(nn.Module):
    """The learned half of the prompts, and how a whole prompt is encoded.

    Attributes:
        normal: (E, m, width) float32, learned tokens of the normal prompts.
        abnormal: (E, m, width) float32, those of the prompts about any type.
        inserted: (depth, k, width) float32, tokens that stand in every text block.
    """

    def __init__(self, backbone: Backbone, config: DapoConfig) -> None:
        """Draw the learned tokens, each like CLIP's own tokens: of their mean and deviation."""
        super().__init__()
        table = backbone.text.token_embedding.weight.detach()
        mean, deviation = table.mean(dim=0), table.std(dim=0)

        def draw(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, len(mean)) * deviation + mean)

        self.config = config
        self.normal = draw(config.prompts, config.context_length)
        self.abnormal = draw(config.prompts, config.context_length)
        self.inserted = draw(backbone.text.depth, config.text_tokens)

    @property
    def template(self) -> str:
        """A prompt about the type `{}` with placeholders for the learned tokens."""
        return self._with_placeholders(self.config.abnormal_words)

    def _with_placeholders(self, words: str) -> str:
        return " ".join([PLACEHOLDER] * self.config.context_length + [words])

    def tokenize_types(self, backbone: Backbone, words: Sequence[str]) -> Sentences:
        """Return the prompts about defect types.

        Raises:
            InputError: A word does not fit the text tower's context.
        """
        return _tokenize(backbone, [self.template.replace("{}", word) for word in words])

    def tokenize_normal(self, backbone: Backbone) -> Sentences:
        """Return the normal prompt.

        Raises:
            InputError: Its words do not fit the text tower's context.
        """
        return _tokenize(backbone, [self._with_placeholders(self.config.normal_words)])

    def table(self, text: TextTower, normal: Sentences, types: Sentences) -> Tensor:
        """Return the text table (1 + K, D) float32, rows of length 1: normality, then the types."""
        rows = [self.encode(text, normal, self.normal), self.encode(text, types, self.abnormal)]
        return unit(torch.cat(rows))

    def encode(self, text: TextTower, sentences: Sentences, learned: Tensor) -> Tensor:
        """Return the mean embeddings (n, D), not normalised, of E prompts per sentence.

        Args:
            text: The frozen text tower.
            sentences: n of them.
            learned: (E, m, width), in the place of their placeholders.
        """
        prompts, length, _ = learned.shape
        fixed = text.embed(sentences.ids)[:, None].expand(-1, prompts, -1, -1)
        own = learned.expand(fixed.shape[0], -1, -1, -1)
        tokens = torch.cat([fixed[:, :, :1], own, fixed[:, :, 1 + length :]], dim=2)
        early = self.config.text_tokens if self.config.read_at == "early" else 0
        features: Tensor = text(
            tokens.flatten(0, 1),  # (n E, L, width)
            (sentences.end - early)[:, None].expand(-1, prompts).flatten(),
            inserted=InsertedTokens(self.inserted, self.config.carried),
            causal=self.config.text_causal,
        )
        return features.reshape(-1, prompts, features.shape[-1]).mean(dim=1)


class TypeEncoder(nn.Module):
    """From token ids to rows of a text table, as a graph of its own; it shares nothing."""

    def __init__(self, text: TextTower, prompts: TypePrompts) -> None:
        """Copy the text tower and the learned tokens."""
        super().__init__()
        self.text, self.prompts = copy.deepcopy(text), copy.deepcopy(prompts)
        self.requires_grad_(False).eval()

    def forward(self, token_ids: Tensor) -> Tensor:
        """Return rows (K, D) float32 of length 1 for token ids (K, L) int64."""
        sentences = Sentences(token_ids, self.text.eot_positions(token_ids))
        return unit(self.prompts.encode(self.text, sentences, self.prompts.abnormal))


def _tokenize(backbone: Backbone, sentences: Sequence[str]) -> Sentences:
    ids = backbone.tokenize(list(sentences))
    return Sentences(ids, check_fits(backbone.text, ids, sentences))

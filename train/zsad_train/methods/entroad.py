"""A reading of EntroAD: entropy-guided routing of patches into prompts (arXiv 2605.28630).

The paper's text and code were not to be had. This is what its abstract and a third party's sketch
allow, built on MRAD's retrieval; it is not the paper's method and its figures are not the paper's.

The entropy of each patch's attention to other patches stands for relational uncertainty. Together
with the retrieved probability it weighs patches into a normal and an anomaly token, which a gate
closes where nothing is surely abnormal. Two branches of prompts, one learned and one hand-written,
are shifted by these tokens; their maps are fused.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zsad_train.methods.base import Batch
from zsad_train.methods.entroad_config import PRESETS, EntroAdConfig
from zsad_train.methods.judge import Sight
from zsad_train.methods.mrad import Mrad
from zsad_train.prompts import PromptLearner

_EPS = 1e-8
"""Of the entropy's range, where all patches have the same (Eq. 3)."""


class RoutedShift(nn.Module):
    """From entropies and retrieved probabilities to the shifts of both branches."""

    def __init__(self, joint: int, width: int, config: EntroAdConfig) -> None:
        """Create one network per branch, from two routed tokens (D = `joint`) to two shifts."""
        super().__init__()
        self.config = config
        self.width = width
        hidden = max(1, round(config.hidden_ratio * 2 * joint))
        self.branches = nn.ModuleList(_network(2 * joint, hidden, 2 * width) for _ in range(2))

    def forward(self, sight: Sight, logit: Tensor) -> tuple[Tensor, ...]:
        """Return the shifts of both branches, each (B, 2, width).

        Args:
            sight: What is seen, with entropies.
            logit: (B, P) float32, how abnormal retrieval finds each patch.
        """
        probability, entropy = logit.sigmoid(), self.entropy(sight)
        weights = torch.stack(self.weights(probability, entropy), dim=1)  # (B, 2, P)
        tokens = weights.to(sight.patches.dtype) @ sight.patches  # (B, 2, D)
        gate = self.gate(probability, entropy).to(tokens.dtype)  # (B, 1)
        routed = torch.cat([tokens[:, 0], gate * tokens[:, 1]], dim=1)
        first, second = (branch(routed).reshape(-1, 2, self.width) for branch in self.branches)
        frozen = self.config.second_branch == "words"
        return first, gate[:, None] * second if frozen else second

    def entropy(self, sight: Sight) -> Tensor:
        """Return how much the entropy of each patch speaks for an anomaly, (B, P) in 0..1."""
        mean = torch.stack(sight.entropies).mean(dim=0)
        lowest, highest = mean.amin(dim=1, keepdim=True), mean.amax(dim=1, keepdim=True)
        scaled = (mean - lowest) / (highest - lowest + _EPS)
        return scaled if self.config.entropy_sign == "high" else 1 - scaled

    def weights(self, probability: Tensor, entropy: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of patches in the normal and in the anomaly token, (B, P) each."""
        rest, calm, temperature = 1 - probability, 1 - entropy, self.config.temperature
        if self.config.routing == "tempered":
            normal, abnormal = rest * calm / temperature, probability * entropy / temperature
        else:
            power = 1 / temperature
            normal, abnormal = rest * calm**power, probability * entropy**power
        return normal.softmax(dim=1), abnormal.softmax(dim=1)

    def gate(self, probability: Tensor, entropy: Tensor) -> Tensor:
        """Return what the anomaly token is multiplied by, (B, 1)."""
        config = self.config
        highest = probability.amax(dim=1, keepdim=True) - config.gate_threshold
        spread = (entropy - entropy.mean(dim=1, keepdim=True)).square().mean(dim=1, keepdim=True)
        strength = config.gate_base + config.gate_spread * spread.sqrt()
        if config.gate == "slope":
            return (strength * highest).sigmoid()
        return strength * highest.sigmoid() if config.gate == "amplify" else torch.ones_like(spread)


class EntroAd(Mrad):
    """The reading with its text encoder attached, as it is trained."""

    name = "entroad"
    config_type = EntroAdConfig
    presets = PRESETS
    config: EntroAdConfig

    def make_branches(self) -> list[PromptLearner]:
        """Return MRAD's learned prompts, and a hand-written pair or learned twins."""
        config = self.config
        if config.second_branch == "twin":
            return [*super().make_branches(), *super().make_branches()]
        words = [config.second_normal_words, config.second_abnormal_words]
        written = PromptLearner(self.backbone, words, length=0, own_text=config.second_context)
        return [*super().make_branches(), written]

    def make_router(self) -> nn.Module:
        """Return what turns the retrieved map and the entropies into shifts of the prompts."""
        text = self.backbone.text
        return RoutedShift(text.embed_dim, text.width, self.config)

    def prompt_loss(self, sight: Sight, retrieved: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of both branches."""
        shifts = self.router(sight, retrieved)
        names = ("first_maps", "second_maps")
        return {
            name: weight * self.map_loss(branch, shift, sight, batch)
            for branch, (name, weight, shift) in enumerate(
                zip(names, self.config.loss_weights, shifts, strict=True)
            )
        }


def _network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), last)

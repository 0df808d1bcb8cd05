"""WinCLIP (CVPR 2023, arXiv 2303.14814), zero-shot: windows of CLIP, nothing learned.

The text is an ensemble, states times templates, averaged to one normal and one abnormal embedding
(section 4.1). Patches are not compared themselves: every window of them goes through the vision
tower on its own, so that CLIP's image feature, which is aligned with text, speaks for a place
(4.2). Windows that share a patch, and then the scales, are joined by harmonic means.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsad.errors import InputError
from zsad_train.descriptions import encode_pair
from zsad_train.methods.base import Method, Prediction, TrainingWords
from zsad_train.methods.options import check_not_negative, check_positive
from zsad_train.similarity import SimilarityHead, pair_logit
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers import Backbone, VisionTower

NORMAL_STATES = ("{}", "intact {}", "clean {}", "{} in good condition", "{} without any fault")
ABNORMAL_STATES = ("broken {}", "faulty {}", "{} with a defect", "{} with visible damage")
TEMPLATES = (
    "a photo of a {}.",
    "a close-up photo of a {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {} for inspection.",
)
"""The paper's kinds of states and templates, in our own words."""


@dataclass(frozen=True)
class WinClipConfig:
    """Options of WinCLIP."""

    tau: float = 0.07
    """Temperature of the softmax. The value of the public implementations."""

    windows: tuple[int, ...] = (2, 3)
    """Sides of the windows in patches, stride 1; the whole image is a scale of its own (4.2)."""

    sigma: float = 0.0
    """Gaussian of the map as a share of the shorter image side; the paper has none."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        check_positive("winclip", self, ("tau",))
        check_not_negative("winclip", self, ("sigma",))
        if not self.windows or min(self.windows) < 1 or len(set(self.windows)) < len(self.windows):
            raise InputError(f"winclip: windows {self.windows} are not distinct positive sides")


PRESETS = {"winclip": WinClipConfig()}


class WindowScales(nn.Module):
    """Where the windows lie, and how their logits become one map."""

    def __init__(self, grid_hw: tuple[int, int], sides: Sequence[int]) -> None:
        """Lay windows of every side over a grid of (rows, columns) patches.

        Raises:
            InputError: A window is larger than the grid.
        """
        super().__init__()
        if max(sides) > min(grid_hw):
            raise InputError(
                f"winclip: a window of {max(sides)} patches is larger than the grid of "
                f"{grid_hw[0]}x{grid_hw[1]}: use smaller windows or larger images"
            )
        self.grid_hw = grid_hw
        self.scales = len(sides)
        raster = torch.arange(grid_hw[0] * grid_hw[1]).view(grid_hw)
        for index, side in enumerate(sides):
            windows = raster.unfold(0, side, 1).unfold(1, side, 1).flatten(2).flatten(0, 1)
            covers = torch.zeros(len(windows), raster.numel()).scatter_(1, windows, 1.0)
            self.register_buffer(f"windows_{index}", windows, persistent=False)  # (n, k)
            self.register_buffer(f"covers_{index}", covers, persistent=False)  # (n, P)

    @property
    def windows(self) -> list[Tensor]:
        """The patches (n, k) long of the windows of every scale."""
        return [self.get_buffer(f"windows_{index}") for index in range(self.scales)]

    def forward(self, image_logits: Tensor, window_logits: Sequence[Tensor]) -> Tensor:
        """Return the abnormal probability (B, rows, cols), float32.

        A patch gets the harmonic mean of the windows over it, then that of all scales (4.2). In
        logits this needs no division by a small score: 1 / sigmoid(x) = 1 + exp(-x).

        Args:
            image_logits: (B,) float32 of the image as a whole.
            window_logits: Per scale (B, n) float32.
        """
        inverse = (1 + (-image_logits).exp())[:, None]  # (B, 1)
        for index, logits in enumerate(window_logits):
            covers = self.get_buffer(f"covers_{index}").float()  # 0 and 1, whatever the precision
            inverse = inverse + (1 + (-logits).exp()) @ (covers / covers.sum(dim=0))
        return ((1 + self.scales) / inverse).reshape(-1, *self.grid_hw)


class WinClip(Method):
    """WinCLIP on the text pair of an ensemble."""

    name = "winclip"
    config_type = WinClipConfig
    presets = PRESETS
    text: Tensor

    def __init__(self, backbone: Backbone, config: WinClipConfig, words: TrainingWords) -> None:
        """Encode the ensembles `words.normal` and `words.abnormal`, and lay the windows.

        Raises:
            InputError: A sentence does not fit the text tower's context, or a window the grid.
        """
        super().__init__(backbone, config, words)
        vision = backbone.vision
        text = encode_pair(backbone, words.normal, words.abnormal)
        self.register_buffer("text", text, persistent=False)  # (2, D)
        self.scales = WindowScales(vision.grid_hw, config.windows)
        sigma_px = config.sigma * min(vision.image_hw)
        self.smooth = UpsampleBlur(vision.grid_hw, vision.image_hw, sigma_px)

    @classmethod
    def words_for(cls, thing: str) -> TrainingWords:
        """Return every state of `thing` in every template (section 4.1)."""
        normal, abnormal = (
            tuple(t.format(state.format(thing)) for state in states for t in TEMPLATES)
            for states in (NORMAL_STATES, ABNORMAL_STATES)
        )
        return TrainingWords((), abnormal=abnormal, normal=normal)

    def forward(self, images: Tensor) -> Prediction:
        """Score images: the image score is that of the whole, the map that of all scales."""
        found = self.backbone.vision(images, taps=(), windows=self.scales.windows)
        score_logit = self._logit(found.image)
        grid = self.scales(score_logit, [self._logit(window) for window in found.windows])
        return Prediction(score_logit.sigmoid(), self.smooth(grid).clamp(0, 1), score_logit)

    def _logit(self, features: Tensor) -> Tensor:
        return pair_logit(features, self.text, self.config.tau)

    def bake(self) -> nn.Module:
        """Return the inference graph with the text pair as a constant."""
        return BakedWinClip(self)


class BakedWinClip(nn.Module):
    """What remains of WinCLIP at inference: the vision tower, one direction, the windows."""

    @torch.no_grad()
    def __init__(self, method: WinClip) -> None:
        """Copy what is needed; nothing is shared with `method`."""
        super().__init__()
        self.vision: VisionTower = copy.deepcopy(method.backbone.vision)
        self.scales = copy.deepcopy(method.scales)
        self.smooth = copy.deepcopy(method.smooth)
        self.head = SimilarityHead(method.text, method.config.tau)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Prediction:
        """Score images (B, 3, H, W) float, normalised; equals `WinClip.forward`."""
        found = self.vision(images, taps=(), windows=self.scales.windows)
        score_logit = self.head(found.image)
        grid = self.scales(score_logit, [self.head(window) for window in found.windows])
        return Prediction(score_logit.sigmoid(), self.smooth(grid).clamp(0, 1), score_logit)

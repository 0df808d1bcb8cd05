"""What every method is: a module that predicts, names its losses, and bakes its text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from zsad_train.towers import Backbone, PosResize, Reading, VisionFeatures

NO_TYPE = -1
"""Type id of a sample that shows no defect, or one of no training type."""

_NO_TYPES = torch.empty(0, dtype=torch.int64)


class Prediction(NamedTuple):
    """Scores of a batch; a tuple, so that it is also what an exported graph returns.

    Attributes:
        score: (B,) float32 in [0, 1], higher = more anomalous.
        anomaly_map: (B, H, W) float32 in [0, 1] at the model's input size.
        score_logit: (B,) float32; its sigmoid is `score`.
    """

    score: Tensor
    anomaly_map: Tensor
    score_logit: Tensor


class TypedPrediction(NamedTuple):
    """A `Prediction` of a method that also tells K defect types apart.

    Attributes:
        score: As in `Prediction`.
        anomaly_map: As in `Prediction`; the sum of `type_map` over the types.
        score_logit: As in `Prediction`.
        type_map: (B, K, H, W) float32 in [0, 1], how much of the anomaly is of each type.
        type_score: (B, K) float32 in [0, 1], the highest patch of each type.
    """

    score: Tensor
    anomaly_map: Tensor
    score_logit: Tensor
    type_map: Tensor
    type_score: Tensor


@dataclass(frozen=True)
class OpenText:
    """Text that stays an input of the graph, so that users can change its words on the device.

    Attributes:
        table: (1 + K, D) float32, rows of length 1: normality, then the words it has now.
        encoder: Token ids (K, L) int64 of the template with a word in it, L the text tower's whole
            context, to rows (K, D) float32 of the table.
        template: What is said about a word, which takes the place of `{}`.
    """

    table: Tensor
    encoder: nn.Module
    template: str


class Batch(NamedTuple):
    """Training images and their labels.

    Attributes:
        images: (B, 3, H, W) float32, RGB, normalised by the backbone's mean and std.
        labels: (B,) int64, 0 normal, 1 anomalous.
        masks: (B, H, W) float32, 1 on defects.
        has_mask: (B,) bool, False where an anomalous image has no pixel labels; its `masks` row
            means nothing.
        class_ids: (B,) int64, index into the training classes.
        type_ids: (B,) int64, index into the training types, or `NO_TYPE`; empty where no method
            asks for it.
        features: What the method's `reading` gives of the images, where it was computed before;
            `images` is (B, 3, 0, 0) then.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    has_mask: Tensor
    class_ids: Tensor
    type_ids: Tensor = _NO_TYPES
    features: VisionFeatures | None = None


@dataclass(frozen=True)
class TrainingWords:
    """The words that a method is trained with.

    Attributes:
        classes: Class names of the training data.
        abnormal: Sentences that describe abnormal states.
        normal: Sentences that describe normal states.
        types: Words for the defect types of the training data.
    """

    classes: tuple[str, ...]
    abnormal: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


class Method(nn.Module):
    """A zero-shot anomaly detector on a frozen CLIP.

    Attributes:
        name: Its name on the command line and in checkpoints.
        presets: Named configurations, each a frozen dataclass of `config_type`; the one that is
            called like the method is its default.
        pos_resize: How CLIP's position table is fitted to another input size: open_clip's way
            unless the method's own code has another.
        attends_to_descriptions: Whether it uses a bank of described states.
        names_types: Whether it tells defect types apart, by words that users may change.
        reading: What is read of the vision tower, where that depends on the image alone and on
            nothing that is learned; None where the tower itself is changed.
        backbone: The frozen CLIP.
        config: Every option it was built with.
        words: The words it was built with.
    """

    name: ClassVar[str]
    config_type: ClassVar[type]
    presets: ClassVar[Mapping[str, Any]]
    pos_resize: ClassVar[PosResize] = "bicubic-antialias"
    attends_to_descriptions: ClassVar[bool] = False
    names_types: ClassVar[bool] = False
    reading: Reading | None = None

    def __init__(self, backbone: Backbone, config: Any, words: TrainingWords) -> None:
        """Hold what every method has; subclasses draw their parameters after this."""
        super().__init__()
        self.backbone = backbone
        self.config = config
        self.words = words

    @classmethod
    def words_for(cls, thing: str) -> TrainingWords:
        """Return the words about `thing` of a method that needs no training."""
        raise NotImplementedError

    def look(self, batch: Batch) -> VisionFeatures:
        """Return what `reading` gives of a batch: its own features if it has them."""
        assert self.reading is not None
        if batch.features is not None:
            return batch.features
        return self.reading(self.backbone.vision, batch.images)

    def forward(self, images: Tensor) -> Prediction | TypedPrediction:
        """Score images (B, 3, H, W) float, normalised, with the text encoded anew."""
        raise NotImplementedError

    def memorise(self, batches: Iterable[Batch]) -> None:
        """Take from the training data what the method keeps of it, before the first epoch.

        A method that keeps nothing does not read them.
        """

    def begin_epoch(self, epoch: int) -> None:
        """Enter epoch `epoch`, 1-based, for methods that learn one part after the other."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss terms by name, already weighted; training minimises their sum.

        A parameter that no term reaches stays as it is.
        """
        raise NotImplementedError

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trainable parameters by the learning rate they take.

        The names are those of `TrainConfig`: `prompts`, `cross_attention`, `mlp`.
        """
        raise NotImplementedError

    def bake(self) -> nn.Module:
        """Return an independent module, images -> `Prediction`, with all text as constants.

        It equals `forward`, exports to ONNX with a symbolic batch and survives `.half()`. Where
        text stays an input it is images and table -> `TypedPrediction`.
        """
        raise NotImplementedError

    def open_text(self) -> OpenText | None:
        """Return the text that stays an input; None where all of it is baked or in the graph."""
        return None


class ClosedText(nn.Module):
    """A baked method on images alone: text that would be an input is held as it is now."""

    table: Tensor | None

    def __init__(self, method: Method) -> None:
        """Bake `method`; nothing is shared with it."""
        super().__init__()
        self.baked = method.bake()
        text = method.open_text()
        self.register_buffer("table", None if text is None else text.table)

    def forward(self, images: Tensor) -> Prediction | TypedPrediction:
        """Score images (B, 3, H, W) float, normalised; equals `Method.forward`."""
        text = () if self.table is None else (self.table,)
        prediction: Prediction | TypedPrediction = self.baked(images, *text)
        return prediction

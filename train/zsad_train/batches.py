"""From samples to training batches: the exact resize of the runtime, then CLIP's normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from zsad.data import Dataset
from zsad.preprocess import PreprocessSpec, resize_exact, resize_mask
from zsad.types import ImageU8
from zsad_train.defect_words import type_word
from zsad_train.methods.base import NO_TYPE, Batch
from zsad_train.towers import BackboneInfo

UNKNOWN_CLASS = -1
"""Class id of a sample whose class is not one of the training classes."""


def preprocess_spec(info: BackboneInfo) -> PreprocessSpec:
    """Return the preprocessing that a backbone was trained with, at its input size."""
    height, width = info.image_hw
    return PreprocessSpec(height=height, width=width, mean=info.mean, std=info.std)


def to_tensor(frame_bgr: ImageU8, spec: PreprocessSpec) -> Tensor:
    """Return a frame (H, W, 3) uint8 BGR of any size as (3, h, w) float32 RGB, normalised.

    Raises:
        InputError: The frame is not a usable image.
    """
    rgb = resize_exact(frame_bgr, spec)[..., ::-1].astype(np.float32) / 255
    normalised = (rgb - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))


class TrainingSamples(TorchDataset[Batch]):
    """The samples of a data set, each as a batch of one."""

    def __init__(
        self,
        samples: Dataset,
        spec: PreprocessSpec,
        classes: Sequence[str],
        types: Sequence[str] = (),
    ) -> None:
        """Index `classes`, the order of the semantic prompts, and `types`, words for defects."""
        self._samples = samples
        self._spec = spec
        self._type_ids = {word: index for index, word in enumerate(types)}
        self._class_ids = {name: index for index, name in enumerate(classes)}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def __getitem__(self, index: int) -> Batch:
        """Return sample `index`; a normal image without pixel labels has an empty mask."""
        sample = self._samples[index]
        mask = np.zeros((self._spec.height, self._spec.width), dtype=bool)
        if sample.mask is not None:
            mask = resize_mask(sample.mask, self._spec.height, self._spec.width)
        return Batch(
            images=to_tensor(sample.image_bgr, self._spec)[None],
            labels=torch.tensor([sample.label]),
            masks=torch.from_numpy(mask.astype(np.float32))[None],
            has_mask=torch.tensor([sample.mask is not None or sample.label == 0]),
            class_ids=torch.tensor([self._class_ids.get(sample.class_name, UNKNOWN_CLASS)]),
            type_ids=torch.tensor([self._type_ids.get(type_word(sample.defect_type), NO_TYPE)]),
        )


def collate(batches: Sequence[Batch]) -> Batch:
    """Join batches into one, in order; all of them have features, or none has."""
    rows = zip(*map(_tensors, batches), strict=True)
    return _with_tensors(batches[0], [torch.cat(tensors) for tensors in rows])


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return `batch` with its tensors on `device`."""
    return _with_tensors(batch, [tensor.to(device) for tensor in _tensors(batch)])


def _tensors(batch: Batch) -> list[Tensor]:
    *own, features = batch  # which stand last among its fields
    return [*own, *(() if features is None else features.tensors())]


def _with_tensors(batch: Batch, tensors: Sequence[Tensor]) -> Batch:
    own = len(batch) - 1
    features = None if batch.features is None else batch.features.like(tensors[own:])
    return Batch._make([*tensors[:own], features])

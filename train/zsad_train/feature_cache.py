"""Features of a frozen vision tower, computed once and kept on disk.

Where nothing that is learned reaches the tower, it says the same about an image in every epoch.
An entry is known by its content: the pixels as they enter the tower, the tower's weights, what is
read of it, and whatever else decides its bits. So a run that changes any of these finds nothing,
and one that changes none of them finds everything, whatever its data set is called.

The last bits of a feature depend on how many images a batch has, not on which. So entries are made
in batches as large as training's, and the smaller batch that ends an epoch is not served from them.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from zsad.errors import InputError
from zsad.schema import sha256_of, to_json
from zsad.types import ImageU8
from zsad_train.batches import TrainingSamples, collate, to_device
from zsad_train.config import Amp
from zsad_train.feature_shelf import SUFFIX, Shelf
from zsad_train.methods.base import Batch, Method
from zsad_train.precision import autocast
from zsad_train.towers import VisionFeatures
from zsad_train.towers.features import GROUPS

TWICE = 8
"""Samples that are read a second time: data that changes from epoch to epoch cannot be cached."""


@dataclass(frozen=True)
class FeatureCache:
    """A folder of features.

    Attributes:
        folder: Where they are; made if it is not there.
        limit_gb: What all of them together may take, in 10^9 bytes. Entries of other runs make
            room, those longest unused first; a run that does not fit alone is refused.
    """

    folder: Path
    limit_gb: float

    def open(
        self, method: Method, samples: TrainingSamples, *, batch_size: int, amp: Amp
    ) -> CachedSamples:
        """Compute what is missing and return the same samples with features instead of images.

        Args:
            method: The method, on the training device.
            samples: Its training data.
            batch_size: Images at a time.
            amp: As in `TrainConfig`.

        Raises:
            InputError: The method changes its tower, the data changes between two readings, or
                the features do not fit.
        """
        check_constant(method)
        check_steady(samples)
        home = self.folder / tower_key(method, amp, batch_size)[:32]
        _make(home)
        shelf = Shelf(self.folder, int(self.limit_gb * 1e9), len(samples))
        found: list[_Label] = []
        starts = range(0, len(samples), batch_size)
        for start in tqdm(starts, desc="features", unit="batch", disable=None):
            rows = [samples[i] for i in range(start, min(start + batch_size, len(samples)))]
            paths = [home / f"{image_key(row.images)}{SUFFIX}" for row in rows]
            found += [_Label.of(row, path) for row, path in zip(rows, paths, strict=True)]
            missing = [i for i, path in enumerate(paths) if not shelf.take(path)]
            if missing:
                full = collate(rows + rows[:1] * (batch_size - len(rows)))
                features = see(method, full, amp)
                for index in missing:
                    shelf.put(paths[index], _packed(features, index))
        return CachedSamples(samples, found, batch_size)


class CachedSamples(TorchDataset[Batch]):
    """Training samples that have features instead of pixels in every full batch."""

    def __init__(self, samples: TrainingSamples, labels: Sequence[_Label], batch_size: int) -> None:
        """Take over the samples and what belongs to each."""
        self._samples = samples
        self._labels = labels
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._labels)

    def __getitem__(self, index: int) -> Batch:
        """Return sample `index` with its pixels."""
        return self._samples[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return the samples of one batch, each as a batch of one; PyTorch's loader calls this.

        Raises:
            InputError: An entry is gone.
        """
        if len(indices) < self._batch_size:
            return [self._samples[index] for index in indices]
        return [self._labels[index].batch() for index in indices]


class _Label(NamedTuple):
    """A sample without its image: where its features are, and a mask of one bit per pixel."""

    path: Path
    row: Batch
    mask: ImageU8
    shape: tuple[int, ...]

    @classmethod
    def of(cls, row: Batch, path: Path) -> _Label:
        mask = row.masks.numpy() > 0.5
        bare = row._replace(images=row.images[:, :, :0, :0].clone(), masks=torch.empty(0))
        return cls(path, bare, np.packbits(mask), mask.shape)

    def batch(self) -> Batch:
        count = int(np.prod(self.shape))
        mask = np.unpackbits(self.mask, count=count).reshape(self.shape).astype(np.float32)
        return self.row._replace(masks=torch.from_numpy(mask), features=_read(self.path))


def check_constant(method: Method) -> None:
    """Refuse a method in which something that is learned reaches the vision tower.

    Raises:
        InputError: It has no reading that depends on the image alone, or the tower learns.
    """
    vision = method.backbone.vision
    learns = [name for name, p in vision.named_parameters() if p.requires_grad]
    if method.reading is None or learns:
        why = f"'{learns[0]}' of its tower is learned" if learns else "it changes the vision tower"
        raise InputError(f"{method.name} has no features to keep, {why}: drop --feature-cache")
    probe = torch.zeros(1, 3, *vision.image_hw, device=next(method.parameters()).device)
    if any(tensor.requires_grad for tensor in method.reading(vision, probe).tensors()):
        raise InputError(
            f"{method.name} has no features to keep, a gradient reaches them: drop --feature-cache"
        )


def check_steady(samples: TrainingSamples) -> None:
    """Refuse data that gives another image when it is read again; `TWICE` samples are tried.

    Raises:
        InputError: It does.
    """
    for index in sorted({i * len(samples) // TWICE for i in range(TWICE)}):
        if not torch.equal(samples[index].images, samples[index].images):
            raise InputError(
                f"sample {index} of the training data is another image each time it is read: drop "
                "--feature-cache"
            )


def see(method: Method, batch: Batch, amp: Amp) -> VisionFeatures:
    """Return the features of a batch, on the CPU, as a training step would compute them."""
    device = next(method.parameters()).device
    with torch.no_grad(), autocast(device, amp):
        features = method.look(to_device(batch, device))
    return features.like([tensor.cpu() for tensor in features.tensors()])


def image_key(image: Tensor) -> str:
    """Return the hash of an image as it enters the tower: its pixels and its shape."""
    digest = hashlib.sha256(repr(tuple(image.shape)).encode())
    digest.update(image.contiguous().numpy().data)
    return digest.hexdigest()[:40]


def tower_key(method: Method, amp: Amp, batch_size: int) -> str:
    """Return the hash of everything beside the image that decides the bits of its features."""
    device = next(method.parameters()).device
    cuda = device.type == "cuda"
    return sha256_of(
        {
            "weights": _weights_hash(method.backbone.vision),
            "reading": to_json(method.reading),
            "amp": amp,
            "batch": batch_size,
            "torch": torch.__version__,
            "machine": torch.cuda.get_device_name(device) if cuda else platform.machine(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": 0 if cuda else torch.get_num_threads(),
        }
    )


def _weights_hash(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _packed(features: VisionFeatures, index: int) -> bytes:
    named = {"image": features.image}
    for group in GROUPS:
        named |= {f"{group}.{i}": tensor for i, tensor in enumerate(getattr(features, group))}
    rows = {name: tensor[index : index + 1].contiguous() for name, tensor in named.items()}
    packed: bytes = save(rows)
    return packed


def _read(path: Path) -> VisionFeatures:
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"feature cache entry {path} cannot be read ({error}): start again, which makes it anew"
        ) from None
    groups = (
        tuple(found[f"{group}.{i}"] for i in range(sum(n.startswith(f"{group}.") for n in found)))
        for group in GROUPS
    )
    return VisionFeatures(found["image"], *groups)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the feature cache {folder}: {error.strerror}") from None

"""Real photographs with drawn defects: what a generator's surfaces cannot show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from zsad.data.synthetic.assembly import assemble
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.classes import fitting_types, surface_canvas
from zsad.data.synthetic.colours import luma
from zsad.data.synthetic.dataset import render_canvas, sample_rng
from zsad.data.synthetic.fittings import fit
from zsad.data.synthetic.pretrain_fittings import MORE_FITTINGS
from zsad.data.types import GOOD, Sample
from zsad.types import ArrayF32, ImageU8
from zsad_train.tiny.photograph_sources import SOURCES, Picture, Source, find

PHOTOGRAPHS = "photographs"
"""The name that caches and recipes know the samples by."""

_STREAM = 0x70686F74
"""Keeps the random numbers apart from those of the generator's splits."""
_LONGEST_PX = 1400  # larger photographs are reduced when read: all of them stay in memory
_CLOSEST_PX = 160  # side of the smallest crop in pixels of the photograph
_BLANK = 6.0  # standard deviation of brightness, in grey levels, below which a crop shows nothing
_KEEP_BLANK = 0.1


@lru_cache(maxsize=512)
def _read(path: Path) -> ImageU8:
    """A file's pixels, (H, W, 4) uint8 BGRA."""
    with Image.open(path) as image:
        image.draft("RGB", (_LONGEST_PX, _LONGEST_PX))  # JPEGs: decoded small at once
        image.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.BOX)
        return np.ascontiguousarray(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])


def _crop(rng: np.random.Generator, picture: Picture, size: int) -> ArrayF32:
    """A square of a photograph from near or far, turned and flipped: (S, S, 3) float32 BGR."""
    whole = _read(picture.path)
    for _ in range(8):
        room = min(whole.shape[:2])
        side = round(np.exp(rng.uniform(np.log(min(_CLOSEST_PX, room)), np.log(room))))
        top, left = (int(rng.integers(length - side + 1)) for length in whole.shape[:2])
        part = np.rot90(whole[top : top + side, left : left + side, :3], int(rng.integers(4)))
        part = np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)
        scaling = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(part, (size, size), interpolation=scaling), np.float32)
        # Plain walls are normal surfaces; empty skies would only crowd out the rest of a scene.
        keep = picture.kind == "surface" or rng.random() < _KEEP_BLANK
        if keep or float(luma(image).std()) >= _BLANK:
            break
    return image


def _cut_out(
    rng: np.random.Generator, picture: Picture, size: int, behind: ArrayF32 | None
) -> Canvas:
    """One photographed thing, turned by any angle, before a photograph or a drawn backdrop."""
    whole = _read(picture.path).astype(np.float32)
    cover = whole[..., 3:] / np.float32(255)
    layers = np.concatenate([whole[..., :3] * cover, cover], axis=2)  # transparent pixels are 0
    scale = rng.uniform(0.6, 0.95) * size / max(whole.shape[:2])
    width, height = (max(round(side * scale), 1) for side in whole.shape[1::-1])
    layers = cv2.resize(layers, (width, height), interpolation=cv2.INTER_AREA)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(0, 360), 1.0)
    to_middle = np.array([size - width, size - height]) / 2
    matrix[:, 2] = matrix[:, 2] + to_middle + rng.normal(0, 0.04 * size, 2)
    turned = np.asarray(cv2.warpAffine(layers, matrix, (size, size)), np.float32)
    cover = np.clip(turned[..., 3], 0, 1)
    skin = turned[..., :3] / np.maximum(cover, np.float32(1e-3))[..., None]
    return assemble(rng, cover, np.asarray(skin, np.float32), bevel_px=2.0, behind=behind)


@dataclass(frozen=True)
class Photographs:
    """Samples on real photographs: even ones undamaged, odd ones with a drawn defect.

    Attributes:
        count: Number of samples.
        seed: Another seed gives another set.
        size: Image side in pixels.
        sources: Where the photographs come from.
    """

    count: int
    seed: int = 0
    size: int = 224
    sources: tuple[Source, ...] = SOURCES

    def __post_init__(self) -> None:
        find(self.sources)  # before anything is drawn

    @property
    def name(self) -> str:
        """Always `photographs`."""
        return PHOTOGRAPHS

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = sample_rng(index, len(self), self.seed, _STREAM)
        canvas = self._canvas(rng)
        types = fitting_types(canvas.is_texture, "pretrain") if index % 2 else None
        noun = "surface" if canvas.is_texture else "object"
        scene = render_canvas(rng, canvas, noun, types)
        return Sample(
            image_bgr=scene.image_bgr,
            mask=scene.mask,
            label=int(scene.defect_type != GOOD),
            class_name="photograph",
            defect_type=scene.defect_type,
            name=f"{self.name}/{self.seed}/{index:06d}",
            caption=scene.caption,
        )

    def _canvas(self, rng: np.random.Generator) -> Canvas:
        found = find(self.sources)
        picture = self._choose(rng, range(len(found)))
        if picture.kind != "cut-out":
            return surface_canvas(rng, _crop(rng, picture, self.size), MORE_FITTINGS)
        flat = [i for i, pictures in enumerate(found) if pictures[0].kind != "cut-out"]
        behind = None
        if flat and rng.random() < 0.6:
            backdrop = _crop(rng, self._choose(rng, flat), self.size)
            behind = fit(rng, backdrop, MORE_FITTINGS)
        return _cut_out(rng, picture, self.size, behind)

    def _choose(self, rng: np.random.Generator, among: range | list[int]) -> Picture:
        weights = np.array([self.sources[i].weight for i in among])
        pictures = find(self.sources)[among[int(rng.choice(len(among), p=weights / weights.sum()))]]
        return pictures[int(rng.integers(len(pictures)))]

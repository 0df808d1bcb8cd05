"""The generated data set: sample i is a pure function of (seed, split, i, size)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zsad.data.synthetic.camera import photograph
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.captions import describe_defect, describe_good
from zsad.data.synthetic.classes import PART_KINDS, SPLITS, classes_of, types_for
from zsad.data.synthetic.colours import luma
from zsad.data.synthetic.defect_table import DEFECT_TYPES
from zsad.data.types import GOOD, Sample
from zsad.errors import InputError
from zsad.types import ArrayBool, ArrayF32, ImageU8

DEFAULT_COUNTS = {"train": 4096, "val": 512, "test": 1024, "pretrain": 4096}
_GREY_CAMERAS = 0.25
_ATTEMPTS = 8

MIN_CHANGE = 10.0
"""Smallest mean change of brightness within a mask, in grey levels, before the camera."""
MIN_AREA = 0.0008
"""Smallest defect, as a fraction of the image."""


@dataclass(frozen=True)
class Scene:
    """A rendered sample together with the picture the same camera takes without the defect.

    Attributes:
        image_bgr: (S, S, 3) uint8 BGR.
        clean_bgr: The same part, light, lens and sensor noise, no defect; (S, S, 3) uint8 BGR.
        mask: Defective pixels, (S, S) bool.
        part: Pixels of the part, (S, S) bool.
        defect_type: The type drawn, `good` for none.
        caption: One English sentence.
    """

    image_bgr: ImageU8
    clean_bgr: ImageU8
    mask: ArrayBool
    part: ArrayBool
    defect_type: str
    caption: str


@dataclass(frozen=True)
class _Drawn:
    image: ArrayF32
    mask: ArrayBool
    defect_type: str


def render(
    rng: np.random.Generator,
    class_name: str,
    types: tuple[tuple[str, ...], ...] | None,
    size: int,
    with_clean: bool = False,
) -> Scene:
    """Draw one scene.

    Args:
        rng: All of its randomness.
        class_name: A key of `PART_KINDS`.
        types: Groups of defect types to choose from, each group equally likely; None for a
            normal part.
        size: Image side in pixels.
        with_clean: Also take the picture without the defect; else `clean_bgr` is `image_bgr`.
    """
    canvas = PART_KINDS[class_name].draw(rng, size)
    return render_canvas(rng, canvas, class_name, types, with_clean)


def render_canvas(
    rng: np.random.Generator,
    canvas: Canvas,
    noun: str,
    types: tuple[tuple[str, ...], ...] | None,
    with_clean: bool = False,
) -> Scene:
    """Put a defect on a clean picture and photograph it.

    Args:
        rng: Source of the defect, the wording and the camera.
        canvas: The clean picture.
        noun: What the caption calls the part.
        types: As for `render`.
        with_clean: As for `render`.
    """
    if types is None:
        drawn = _Drawn(canvas.image, np.zeros_like(canvas.part), GOOD)
        caption = describe_good(rng, noun)
    else:
        drawn = _draw_visible(rng, canvas, types)
        caption = describe_defect(
            rng, noun, drawn.defect_type, canvas.image, drawn.image, drawn.mask
        )
    grey_scale = bool(rng.random() < _GREY_CAMERAS)
    camera = int(rng.integers(2**63))
    image = photograph(np.random.default_rng(camera), drawn.image, grey_scale)
    clean = image
    if with_clean:
        clean = photograph(np.random.default_rng(camera), canvas.image, grey_scale)
    return Scene(image, clean, drawn.mask, canvas.part, drawn.defect_type, caption)


def _draw_visible(
    rng: np.random.Generator, canvas: Canvas, types: tuple[tuple[str, ...], ...]
) -> _Drawn:
    """Draw defects until one is large and strong enough to be seen, else keep the strongest."""
    group = types[int(rng.integers(len(types)))]
    best, best_strength = None, -1.0
    for _ in range(_ATTEMPTS):
        name = group[int(rng.integers(len(group)))]
        image, mask = DEFECT_TYPES[name].draw(rng, canvas)
        strength = _visibility(canvas.image, image, mask)
        if strength > best_strength:
            best, best_strength = _Drawn(image, mask, name), strength
        if strength >= 1:
            break
    assert best is not None
    return best


def _visibility(clean: ArrayF32, drawn: ArrayF32, mask: ArrayBool) -> float:
    """How far a defect is above the smallest that counts; at least 1 if it can be seen."""
    area = float(mask.mean())
    if area == 0:
        return 0.0
    seen = np.clip(luma(drawn)[mask], 0, 255) - np.clip(luma(clean)[mask], 0, 255)
    return min(area / MIN_AREA, float(np.abs(seen).mean()) / MIN_CHANGE)


@dataclass(frozen=True)
class SyntheticDataset:
    """Generated parts and surfaces, half of them defective.

    Even samples are normal, odd ones defective, and the classes take turns, so that every prefix
    is balanced. Shuffle for training.

    Attributes:
        split: `train`, `val` or `test`, which share no class, or `pretrain`: the classes of
            `train` and more that belong to it alone.
        count: Number of samples.
        seed: Another seed gives another, equally large set.
        size: Image side in pixels.
        textures_only: No objects, and few defect types.
    """

    split: str = "train"
    count: int | None = None
    seed: int = 0
    size: int = 224
    textures_only: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(f"unknown split '{self.split}': use one of {', '.join(SPLITS)}")
        if self.count is not None and self.count < 0:
            raise InputError(f"cannot generate {self.count} samples: use 0 or more")
        if self.size < 64:
            raise InputError(f"{self.size} px is too small for defects: use 64 or more")
        if self.seed < 0:
            raise InputError(f"seed {self.seed} is negative: use 0 or more")

    @property
    def name(self) -> str:
        """`synthetic/test`, for example."""
        return f"synthetic{'-texture' if self.textures_only else ''}/{self.split}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of this split."""
        return classes_of(self.split, self.textures_only)

    @property
    def defect_types(self) -> tuple[str, ...]:
        """The defect types that this split draws, sorted."""
        groups = [types_for(name, self.split, self.textures_only) for name in self.classes]
        return tuple(sorted({kind for of_class in groups for group in of_class for kind in group}))

    @property
    def has_masks(self) -> bool:
        """Always True."""
        return True

    def __len__(self) -> int:
        return DEFAULT_COUNTS[self.split] if self.count is None else self.count

    def __getitem__(self, index: int) -> Sample:
        class_name, scene = self._scene(index, with_clean=False)
        return Sample(
            image_bgr=scene.image_bgr,
            mask=scene.mask,
            label=int(scene.defect_type != GOOD),
            class_name=class_name,
            defect_type=scene.defect_type,
            name=f"{self.name}/{self.seed}/{index:06d}",
            caption=scene.caption,
        )

    def limited(self, limit: int | None) -> SyntheticDataset:
        """The first `limit` samples; a larger limit than the set makes a larger set."""
        return self if limit is None else replace(self, count=limit)

    def pair(self, index: int) -> Scene:
        """Sample `index` together with the same picture without its defect."""
        return self._scene(index, with_clean=True)[1]

    def _scene(self, index: int, with_clean: bool) -> tuple[str, Scene]:
        streams = (SPLITS.index(self.split), int(self.textures_only))
        rng = sample_rng(index, len(self), self.seed, *streams)
        classes = self.classes
        class_name = classes[index // 2 % len(classes)]
        types = types_for(class_name, self.split, self.textures_only) if index % 2 else None
        return class_name, render(rng, class_name, types, self.size, with_clean)


def sample_rng(index: int, count: int, *entropy: int) -> np.random.Generator:
    """Return the random numbers of one of `count` samples, which no other sample touches.

    Raises:
        IndexError: There is no such sample.
    """
    if not 0 <= index < count:
        raise IndexError(f"sample {index} of {count}")
    return np.random.default_rng(np.random.SeedSequence([*entropy, index]))

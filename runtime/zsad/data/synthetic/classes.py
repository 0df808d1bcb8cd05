"""Which classes and defect types each split may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zsad.data.synthetic import (
    objects,
    pretrain_goods,
    pretrain_grains,
    pretrain_objects,
    pretrain_textures,
    textures,
)
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import random_colour
from zsad.data.synthetic.defect_table import DEFECT_TYPES, Place
from zsad.data.synthetic.fittings import FITTINGS, Fitting, fit
from zsad.data.synthetic.noise import random_frame
from zsad.data.synthetic.pretrain_fittings import MORE_FITTINGS
from zsad.types import ArrayF32

SPLITS = ("train", "val", "test", "pretrain")
"""A sample's seed holds its split's place here: append only."""

FEW_TYPES = ("scratch", "crack", "hole", "stain")
"""What `synthetic-texture` trains on: the "limited priors" of DIVE, section 5."""


@dataclass(frozen=True)
class PartKind:
    """One class: how to draw it and which split owns it; `pretrain` also shows those of `train`."""

    draw: Callable[[np.random.Generator, int], Canvas]
    split: str
    is_texture: bool


def surface_canvas(
    rng: np.random.Generator, image: ArrayF32, fittings: tuple[Fitting, ...]
) -> Canvas:
    """A surface that fills the image, with at most one normal thing on it.

    Args:
        rng: Source of the fitting and of what lies behind.
        image: The bare surface, (S, S, 3) float32 BGR in about [0, 255].
        fittings: What may be on it.
    """
    image = fit(rng, image, fittings)
    behind = np.zeros_like(image) + random_colour(rng, value=(0.02, 0.35))
    return Canvas(image, np.ones(image.shape[:2], np.bool_), behind, is_texture=True)


def _surface(texture: textures.Texture, split: str) -> PartKind:
    fittings = MORE_FITTINGS if split == "pretrain" else FITTINGS

    def draw(rng: np.random.Generator, size: int) -> Canvas:
        return surface_canvas(rng, texture(rng, random_frame(rng, size)), fittings)

    return PartKind(draw, split, is_texture=True)


def _object(draw: objects.PartClass, split: str) -> PartKind:
    return PartKind(draw, split, is_texture=False)


PART_KINDS: dict[str, PartKind] = {
    "wood": _surface(textures.wood, "train"),
    "metal plate": _object(objects.metal_plate, "train"),
    "woven fabric": _surface(textures.woven_fabric, "train"),
    "washer": _object(objects.washer, "train"),
    "brushed metal": _surface(textures.brushed_metal, "train"),
    "button": _object(objects.button, "train"),
    "concrete": _surface(textures.concrete, "train"),
    "pill": _object(objects.pill, "train"),
    "leather": _surface(textures.leather, "train"),
    "gasket": _object(objects.gasket, "train"),
    "ceramic tiles": _surface(textures.ceramic_tiles, "train"),
    "circuit board": _object(objects.circuit_board, "train"),
    "cardboard": _surface(textures.cardboard, "train"),
    "terrazzo": _surface(textures.terrazzo, "train"),
    "marble": _surface(textures.marble, "val"),
    "hex nut": _object(objects.hex_nut, "val"),
    "carpet": _surface(textures.carpet, "val"),
    "bottle cap": _object(objects.bottle_cap, "val"),
    "knitted fabric": _surface(textures.knitted_fabric, "test"),
    "gear": _object(objects.gear, "test"),
    "cork": _surface(textures.cork, "test"),
    "capsule": _object(objects.capsule, "test"),
    "rubber mat": _surface(textures.rubber_mat, "test"),
    "chip package": _object(objects.chip_package, "test"),
    "wire mesh": _surface(textures.wire_mesh, "test"),
    "ball bearing": _object(objects.ball_bearing, "test"),
    "brick wall": _surface(pretrain_textures.brick_wall, "pretrain"),
    "gravel": _surface(pretrain_grains.gravel, "pretrain"),
    "plaid cloth": _surface(pretrain_textures.plaid_cloth, "pretrain"),
    "hammered metal": _surface(pretrain_grains.hammered_metal, "pretrain"),
    "corrugated sheet": _surface(pretrain_textures.corrugated_sheet, "pretrain"),
    "stone wall": _surface(pretrain_grains.stone_wall, "pretrain"),
    "perforated sheet": _surface(pretrain_textures.perforated_sheet, "pretrain"),
    "sponge": _surface(pretrain_grains.sponge, "pretrain"),
    "printed paper": _surface(pretrain_textures.printed_paper, "pretrain"),
    "sandpaper": _surface(pretrain_grains.sandpaper, "pretrain"),
    "ribbed plastic": _surface(pretrain_textures.ribbed_plastic, "pretrain"),
    "chipboard": _surface(pretrain_grains.chipboard, "pretrain"),
    "herringbone parquet": _surface(pretrain_textures.herringbone_parquet, "pretrain"),
    "mosaic": _surface(pretrain_textures.mosaic, "pretrain"),
    "striped sheet": _surface(pretrain_textures.striped_sheet, "pretrain"),
    "patterned surface": _surface(pretrain_textures.patterned_surface, "pretrain"),
    "wallpaper": _surface(pretrain_textures.wallpaper, "pretrain"),
    "bracket": _object(pretrain_objects.bracket, "pretrain"),
    "flange": _object(pretrain_objects.flange, "pretrain"),
    "key": _object(pretrain_objects.key, "pretrain"),
    "connector": _object(pretrain_objects.connector, "pretrain"),
    "spring": _object(pretrain_objects.spring, "pretrain"),
    "fuse": _object(pretrain_objects.fuse, "pretrain"),
    "resistor": _object(pretrain_objects.resistor, "pretrain"),
    "chain": _object(pretrain_objects.chain, "pretrain"),
    "heat sink": _object(pretrain_objects.heat_sink, "pretrain"),
    "machined part": _object(pretrain_objects.machined_part, "pretrain"),
    "screws": _object(pretrain_objects.screws, "pretrain"),
    "coin": _object(pretrain_goods.coin, "pretrain"),
    "lens": _object(pretrain_goods.lens, "pretrain"),
    "biscuit": _object(pretrain_goods.biscuit, "pretrain"),
    "zipper": _object(pretrain_goods.zipper, "pretrain"),
    "gauge": _object(pretrain_goods.gauge, "pretrain"),
    "label": _object(pretrain_goods.label, "pretrain"),
    "keypad": _object(pretrain_goods.keypad, "pretrain"),
    "leaf": _object(pretrain_goods.leaf, "pretrain"),
    "beans": _object(pretrain_goods.beans, "pretrain"),
}


def classes_of(split: str, textures_only: bool = False) -> tuple[str, ...]:
    """The classes that a split shows; only `pretrain` shares any, those of `train`."""
    shown = ("train", "pretrain") if split == "pretrain" else (split,)
    return tuple(
        name
        for name, kind in PART_KINDS.items()
        if kind.split in shown and (kind.is_texture or not textures_only)
    )


def types_for(class_name: str, split: str, few: bool = False) -> tuple[tuple[str, ...], ...]:
    """Groups of defect types that a class of a split can show; each group is equally likely.

    `train` and `val` have one group, the types of every split. `test` and `pretrain` have two: half
    of their defects are of types that no other split shows. `few` leaves `pretrain` the first.
    """
    return fitting_types(PART_KINDS[class_name].is_texture, split, few)


def fitting_types(is_texture: bool, split: str, few: bool = False) -> tuple[tuple[str, ...], ...]:
    """The groups of `types_for`, for any surface or any object."""
    wrong_place = Place.OBJECTS if is_texture else Place.TEXTURES
    fitting = {name: kind for name, kind in DEFECT_TYPES.items() if kind.place is not wrong_place}
    shared = tuple(
        name
        for name, kind in fitting.items()
        if kind.split is None and (name in FEW_TYPES or not few)
    )
    own = tuple(name for name, kind in fitting.items() if kind.split == split)
    return (shared, own) if own and (split == "test" or not few) else (shared,)

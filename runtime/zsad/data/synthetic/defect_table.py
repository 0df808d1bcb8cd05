"""The table of defect types: who draws each, where, in which splits, and how captions call it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from zsad.data.synthetic import defects, pretrain_defects, pretrain_marks, surface_defects
from zsad.data.synthetic.marks import Drawer


class Place(Enum):
    """Where a defect type can occur."""

    ANYWHERE = "anywhere"
    OBJECTS = "objects"
    TEXTURES = "textures"


@dataclass(frozen=True)
class DefectType:
    """One row of the table.

    Attributes:
        draw: The drawer.
        phrase: Noun with its article, `a scratch`.
        adjective: What it makes of the part, `scratched`.
        place: Where it can occur.
        split: The only split that draws it; None for all.
    """

    draw: Drawer
    phrase: str
    adjective: str
    place: Place = Place.ANYWHERE
    split: str | None = None

    @property
    def held_out(self) -> bool:
        """Whether it is never drawn for training or validation."""
        return self.split == "test"


DEFECT_TYPES: dict[str, DefectType] = {
    "scratch": DefectType(defects.scratch, "a scratch", "scratched"),
    "crack": DefectType(defects.crack, "a crack", "cracked"),
    "hole": DefectType(defects.hole, "a hole", "pierced"),
    "stain": DefectType(surface_defects.stain, "a stain", "stained"),
    "dent": DefectType(defects.dent, "a dent", "dented"),
    "chip": DefectType(defects.chip, "a chip", "chipped"),
    "missing part": DefectType(
        defects.missing_part, "a missing part", "incomplete", place=Place.OBJECTS
    ),
    "thread": DefectType(defects.thread, "a loose thread", "contaminated"),
    "discolouration": DefectType(surface_defects.discolouration, "a discolouration", "discoloured"),
    "contamination": DefectType(surface_defects.contamination, "contamination", "dirty"),
    "abrasion": DefectType(surface_defects.abrasion, "an abrasion", "worn"),
    "distortion": DefectType(defects.distortion, "a distortion", "distorted", place=Place.TEXTURES),
    "burn": DefectType(surface_defects.burn, "a burn", "burnt", split="test"),
    "cut": DefectType(defects.cut, "a cut", "cut", split="test"),
    "bump": DefectType(defects.bump, "a bump", "bumpy", split="test"),
    "wrinkle": DefectType(defects.wrinkle, "a wrinkle", "wrinkled", split="test"),
    "foreign patch": DefectType(
        pretrain_defects.foreign_patch, "a foreign patch", "patchy", split="pretrain"
    ),
    "misplaced piece": DefectType(
        pretrain_defects.misplaced_piece, "a misplaced piece", "mismatched", split="pretrain"
    ),
    "flipped area": DefectType(
        pretrain_defects.flipped_area, "a flipped area", "jumbled", split="pretrain"
    ),
    "smear": DefectType(pretrain_defects.smear, "a smear", "smeared", split="pretrain"),
    "faded area": DefectType(
        pretrain_defects.faded_area, "a faded area", "faded", split="pretrain"
    ),
    "streak": DefectType(pretrain_marks.streak, "a streak", "streaky", split="pretrain"),
    "corrosion": DefectType(pretrain_marks.corrosion, "corrosion", "corroded", split="pretrain"),
    "pinholes": DefectType(pretrain_marks.pinholes, "pinholes", "porous", split="pretrain"),
    "flaking": DefectType(pretrain_marks.flaking, "flaking", "flaky", split="pretrain"),
    "spatter": DefectType(pretrain_marks.spatter, "spatter", "spattered", split="pretrain"),
}

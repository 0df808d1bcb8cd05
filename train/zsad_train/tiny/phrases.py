"""The sentences that training ties images and patches to.

They are written like the prompts that prompt learners start from ("object", "damaged object") and
like the sentences of description banks ("a photo of an object with a ..."), so that both mean
something to the trained towers.
"""

from __future__ import annotations

import re

import numpy as np

from zsad.data.synthetic.defect_table import DEFECT_TYPES

NORMAL_STATES = (
    "object",
    "a photo of an object",
    "a photo of a flawless object",
    "normal object",
    "a photo of a normal object",
    "perfect object",
    "undamaged object",
    "a photo of an object without defects",
    "a photo of an object with a clean surface",
    "an intact part with no damage",
    "a clean surface",
    "an unblemished surface in good condition",
)
DAMAGED_STATES = (
    "damaged object",
    "a photo of a damaged object",
    "a photo of an object with a defect",
    "defective object",
    "a photo of a defective object",
    "broken object",
    "flawed object",
    "a photo of an object with a flaw",
    "a photo of an object with damage",
    "an abnormal part with damage",
    "a damaged surface",
    "a faulty surface with a defect",
)
TYPE_TEMPLATES = (
    "a photo of an object with {}",
    "an object with {}",
    "a close-up of a surface with {}",
    "a damaged object with {}",
    "{}",
)
GENERIC_NOUNS = ("object", "surface", "part", "product", "item")
SEEN_TYPES = tuple(name for name, kind in DEFECT_TYPES.items() if not kind.held_out)

_PLACE = re.compile(r" (on|in) the ((upper|lower|left|right|middle)\b ?)+(half)?")
_TONE = re.compile(r"\b(dark|bright)\b")
_ARTICLE = re.compile(r"\ba (?=[aeiou])|\ban (?=[^aeiou])")


def type_phrases(template: str) -> list[str]:
    """One sentence for each seen defect type, in the order of `SEEN_TYPES`."""
    return [template.format(DEFECT_TYPES[name].phrase) for name in SEEN_TYPES]


def without_place(caption: str) -> str:
    """The caption without where the defect lies, for pictures that are flipped or turned."""
    return _PLACE.sub("", caption)


def with_noun(caption: str, class_name: str, noun: str) -> str:
    """The caption with `noun` for the class name, and the articles that fit it."""
    if caption.endswith(class_name) or f"{class_name} " in caption:
        caption = caption.replace(class_name, noun, 1)
    return _ARTICLE.sub(lambda found: "an " if found[0] == "a " else "a ", caption)


def with_tones_swapped(caption: str) -> str:
    """The caption of the picture's negative: what was dark is bright."""
    return _TONE.sub(lambda found: "bright" if found[0] == "dark" else "dark", caption)


def pick(rng: np.random.Generator, sentences: tuple[str, ...], count: int) -> list[str]:
    """`count` different sentences."""
    return [sentences[i] for i in rng.choice(len(sentences), count, replace=False)]

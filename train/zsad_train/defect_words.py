"""Words for the defect types of a data set, which its folders' names often are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_NAMES_OF: Mapping[str, str] = {
    "bent": "bent bent_lead bent_wire manipulated_front",
    "broken": "broken broken_large broken_small broken_teeth",
    "discoloration": "color",
    "compound": "combined",
    "contamination": "contamination metal_contamination",
    "crack": "crack",
    "cut": "cut cut_inner_insulation cut_outer_insulation cut_lead",
    "fabric": "fabric fabric_border fabric_interior",
    "faulty imprint": "faulty_imprint print",
    "gluing": "glue glue_strip",
    "hole": "hole",
    "missing": "missing missing_wire missing_cable",
    "puncture": "poke poke_insulation",
    "rough": "rough",
    "scratch": "scratch scratch_head scratch_neck",
    "compressed": "squeeze squeezed_teeth",
    "threading": "thread thread_side thread_top",
    "liquid": "liquid oil",
    "misaligned": "misplaced cable_swap flip fold split_teeth",
    "wear": "damaged_case defective gray_stroke pill_type",
}
"""DAPO's 20 words for the defect folders of MVTec AD that each stands for [code]."""

WORD_OF = {name: word for word, names in _NAMES_OF.items() for name in names.split()}
"""Name of a defect folder of MVTec AD to the word that DAPO is trained with."""


def type_word(defect_type: str) -> str:
    """Return the word for a sample's `defect_type`: DAPO's for MVTec's names, else the name."""
    return WORD_OF.get(defect_type, defect_type.replace("_", " "))


def type_words(defect_types: Iterable[str]) -> tuple[str, ...]:
    """Return the words for the defect types of a data set, each once, sorted."""
    return tuple(sorted({type_word(name) for name in defect_types}))

"""One recipe for several graphs: what is calibrated anew joins what was calibrated before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zsad.recipe import Recipe

_SHARED = {
    "preprocess_sha256": "preprocessing",
    "words_sha256": "defect types",
    "scale_16bit": "--scale-16bit",
    "roi": "region",
    "tiles": "tiles",
    "frame_hw": "size of the frames",
}


@dataclass(frozen=True)
class Merged:
    """A recipe, and what became of the calibrations that were there before.

    Attributes:
        recipe: The recipe to write.
        kept: Calibrations of other graphs that it keeps.
        dropped: Calibrations of other graphs that it cannot keep.
        reason: What is another now, where any were dropped.
    """

    recipe: Recipe
    kept: int = 0
    dropped: int = 0
    reason: str | None = None


def merge(old: Recipe | None, made: Recipe) -> Merged:
    """Return `made` together with the calibrations in `old` of other graphs or arithmetic.

    They hold only for the preprocessing, words, region and tiles that they were made with, so that
    none is kept where one of these is another.
    """
    if old is None:
        return Merged(made)
    anew = {(c.graph_sha256, c.arithmetic) for c in made.calibrations}
    others = tuple(c for c in old.calibrations if (c.graph_sha256, c.arithmetic) not in anew)
    if not others:
        return Merged(made)
    changed = [name for key, name in _SHARED.items() if getattr(old, key) != getattr(made, key)]
    if changed:
        return Merged(made, dropped=len(others), reason=changed[0])
    merged = replace(
        made,
        calibrations=(*made.calibrations, *others),
        drift=made.drift or old.drift,  # fewer good parts than before tell less
    )
    return Merged(merged, kept=len(others))

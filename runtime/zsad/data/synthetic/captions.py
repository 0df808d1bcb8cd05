"""Captions: one plain English sentence that says what is shown and what is wrong with it."""

from __future__ import annotations

import numpy as np

from zsad.data.synthetic.colours import luma
from zsad.data.synthetic.defect_table import DEFECT_TYPES
from zsad.types import ArrayBool, ArrayF32

_VIEWS = ("a photo of", "a close-up of", "a picture of", "an inspection image of", "a view of", "")
_CLEAN = ("clean", "flawless", "normal", "perfect", "undamaged", "intact", "good", "unblemished")
_WITHOUT = ("without defects", "with no damage", "without flaws", "in good condition", "")
_DAMAGED = ("damaged", "defective", "flawed", "broken", "faulty", "abnormal")
_MASS_NOUNS = frozenset(
    ("wood", "woven fabric", "brushed metal", "concrete", "leather", "ceramic tiles", "cardboard",
     "terrazzo", "marble", "carpet", "knitted fabric", "cork", "wire mesh",
     "gravel", "plaid cloth", "hammered metal", "printed paper", "sandpaper", "ribbed plastic",
     "chipboard", "herringbone parquet", "wallpaper", "screws", "beans")
)  # fmt: skip


def describe_good(rng: np.random.Generator, class_name: str) -> str:
    """A caption for a normal image."""
    word, ending = _pick(rng, _CLEAN), _pick(rng, _WITHOUT)
    noun = class_name if ending and rng.random() < 0.4 else f"{word} {class_name}"
    return _sentence(_pick(rng, _VIEWS), _article(noun, class_name), ending)


def describe_defect(
    rng: np.random.Generator,
    class_name: str,
    defect_type: str,
    clean: ArrayF32,
    drawn: ArrayF32,
    mask: ArrayBool,
) -> str:
    """A caption for a defect, at times with its size, tone and position.

    Args:
        rng: Source of the wording.
        class_name: The part.
        defect_type: A row of the defect table.
        clean: The picture without the defect, (S, S, 3) float32 BGR.
        drawn: The picture with it, (S, S, 3) float32 BGR.
        mask: Its pixels, (S, S) bool.
    """
    kind = DEFECT_TYPES[defect_type]
    view, style = _pick(rng, _VIEWS), rng.random()
    if style < 0.2:
        return _sentence(view, _article(f"{kind.adjective} {class_name}", class_name), "")
    word = f"{_pick(rng, _DAMAGED)} {class_name}" if style < 0.45 else class_name
    defect = kind.phrase
    details = [_size_word(mask), _tone_word(clean, drawn, mask)]
    details = [detail for detail in details if detail and rng.random() < 0.4]
    if details:
        bare = defect.split(" ", 1)[1] if defect.startswith(("a ", "an ")) else defect
        lead = " ".join((*details, bare))
        defect = lead if bare == defect else _with_article(lead)
    where = f" {_position(mask)}" if rng.random() < 0.35 else ""
    return _sentence(view, _article(word, class_name), f"with {defect}{where}")


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _sentence(*words: str) -> str:
    return " ".join(word for word in words if word)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _article(noun: str, class_name: str) -> str:
    return noun if class_name in _MASS_NOUNS else _with_article(noun)


def _size_word(mask: ArrayBool) -> str:
    rows, columns = np.nonzero(mask)
    side = mask.shape[0]
    extent = float(np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1)) / side
    filled = mask.mean() / max(extent**2, 1e-6)
    if filled < 0.06 and extent > 0.35:
        return "long"
    if extent < 0.14:
        return "small"
    return "large" if extent > 0.4 else ""


def _tone_word(clean: ArrayF32, drawn: ArrayF32, mask: ArrayBool) -> str:
    change = float((luma(drawn)[mask] - luma(clean)[mask]).mean())
    if abs(change) < 15:
        return ""
    return "dark" if change < 0 else "bright"


def _position(mask: ArrayBool) -> str:
    rows, columns = np.nonzero(mask)
    y, x = rows.mean() / mask.shape[0], columns.mean() / mask.shape[1]
    vertical = "upper" if y < 0.38 else "lower" if y > 0.62 else ""
    horizontal = "left" if x < 0.38 else "right" if x > 0.62 else ""
    if not vertical and not horizontal:
        return "in the middle"
    if vertical and horizontal:
        return f"in the {vertical} {horizontal}"
    return f"on the {horizontal}" if horizontal else f"in the {vertical} half"

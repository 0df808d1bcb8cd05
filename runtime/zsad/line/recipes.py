"""The recipes of a line, read once: what is audited is what judges, whatever the files become."""

from __future__ import annotations

from collections.abc import Mapping

from zsad.line.config import LineConfig
from zsad.recipe import Recipe, read_recipe

Recipes = Mapping[str, Recipe]
"""Recipe by camera, one object for one file; a camera without one is not in it."""


def read_recipes(config: LineConfig) -> Recipes:
    """Read the recipe of each camera that has one.

    Raises:
        InputError: A recipe cannot be read.
    """
    paths = {camera.name: config.recipe_of(camera.name) for camera in config.cameras}
    read = {path: read_recipe(path) for path in {*paths.values()} if path is not None}
    return {name: read[path] for name, path in paths.items() if path is not None}

"""The recipes of a line, read once: what is audited is what judges, whatever the files become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from zsad.errors import InputError
from zsad.line.config import LineConfig
from zsad.recipe import Recipe, read_recipe
from zsad.sources import CameraConfig

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


def cameras_as_calibrated(config: LineConfig, recipes: Recipes) -> tuple[CameraConfig, ...]:
    """Return the cameras, each folder with the scale of 16-bit pictures of its recipe.

    Raises:
        InputError: A camera asks for another scale than its recipe was calibrated with.
    """
    return tuple(
        _as_calibrated(camera, recipes[camera.name], config.recipe_of(camera.name))
        if camera.resolved_kind == "folder" and camera.name in recipes
        else camera
        for camera in config.cameras
    )


def _as_calibrated(camera: CameraConfig, recipe: Recipe, path: str | None) -> CameraConfig:
    made_with = recipe.scale_16bit
    if camera.scale_16bit not in (None, made_with):
        found = "8-bit images" if made_with is None else f"a scale of {made_with}"
        raise InputError(
            f"camera {camera.name}: recipe {path} was calibrated with {found}, not scale_16bit"
            f" {camera.scale_16bit}: leave that out, or calibrate again with it"
        )
    return replace(camera, scale_16bit=made_with)

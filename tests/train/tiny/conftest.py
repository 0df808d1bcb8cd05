"""A backbone and a recipe small enough to train in a test, and images to learn from."""

import pytest

from zsad_train.tiny.cache import open_cache
from zsad_train.tiny.config import TinyConfig
from zsad_train.tiny.recipes import Recipe


@pytest.fixture(scope="session")
def recipe():
    return Recipe(
        config=TinyConfig(64, 32, 1, 16, 16, 32, 1),
        imagenet=False,
        sentences=False,
        steps=6,
        batch=4,
        images=(("train", 24),),
        warm_up=2,
        decay_from=0.7,
        images_seed=3,
        seed=3,
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def cache(folder):
    return open_cache(folder, "train", 24, seed=3, size=64)

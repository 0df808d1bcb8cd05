import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from zsad.data.synthetic.defect_table import DEFECT_TYPES
from zsad.data.types import GOOD
from zsad.errors import InputError
from zsad_train.tiny import photographs
from zsad_train.tiny.cache import open_cache
from zsad_train.tiny.photograph_sources import SOURCES, Source, find
from zsad_train.tiny.photographs import Photographs

SIZE = 96


def source(folder, kind, pattern, **more):
    return Source("a-package", "1", "CC0-1.0", kind, 1.0, str(folder), (pattern,), **more)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, shape in (("wall", (300, 400)), ("scene", (64, 80))):
        pixels = rng.integers(90, 160, (*shape, 3), np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    thing = np.full((200, 180, 4), 140, np.uint8)
    thing[..., 3] = 255 * (np.hypot(*np.indices((200, 180)) - 90) < 80)
    cv2.imwrite(str(folder / "thing.png"), thing)
    cv2.imwrite(str(folder / "thing_small.png"), thing[:100, :100])
    return (
        source(folder, "surface", "wall.png"),
        source(folder, "scene", "scene.png"),
        source(folder, "cut-out", "thing*.png"),
    )


def test_a_sample_depends_on_its_number_and_the_seed_alone(sources):
    data = Photographs(40, 1, SIZE, sources)
    again = pickle.loads(pickle.dumps(data))  # as a spawned process gets it
    for index in (0, 7, 12):
        first, second = data[index], again[index]
        assert np.array_equal(first.image_bgr, second.image_bgr)
        assert np.array_equal(first.mask, second.mask)
        assert (first.caption, first.name) == (second.caption, second.name)
    assert not np.array_equal(data[0].image_bgr, Photographs(40, 2, SIZE, sources)[0].image_bgr)
    with pytest.raises(IndexError):
        data[40]


def test_even_samples_are_whole_and_odd_ones_have_a_seen_defect(sources):
    data = Photographs(60, 0, SIZE, sources)
    kinds = set()
    for index in range(len(data)):
        sample = data[index]
        assert sample.image_bgr.shape == (SIZE, SIZE, 3) and sample.image_bgr.dtype == np.uint8
        assert sample.label == index % 2 == int(sample.defect_type != GOOD)
        assert sample.mask.any() == bool(index % 2)
        assert sample.class_name == "photograph" and "photograph" not in sample.caption
        assert "surface" in sample.caption or "object" in sample.caption
        kinds.add(sample.defect_type)
    assert not any(DEFECT_TYPES[kind].held_out for kind in kinds - {GOOD})
    assert len(kinds) > 6


def test_the_mask_covers_what_the_defect_changed(sources, monkeypatch):
    scenes = []

    def with_clean(*args):
        scenes.append(render(*args, with_clean=True))
        return scenes[-1]

    render = photographs.render_canvas
    monkeypatch.setattr(photographs, "render_canvas", with_clean)
    data = Photographs(40, 0, 224, sources)
    for index in range(1, 40, 2):
        data[index]
        scene = scenes[-1]
        change = np.abs(scene.image_bgr.astype(int) - scene.clean_bgr).sum(2)
        near = cv2.dilate(scene.mask.astype(np.uint8), np.ones((25, 25))) > 0
        # A few grey levels may come from the soft edge of a broad defect.
        assert change[scene.mask].mean() > 15
        assert change[~near].mean() < 1.5


def test_small_cut_outs_and_excluded_names_are_left_out(sources, tmp_path):
    assert [[p.path.name for p in found] for found in find(sources)] == [
        ["wall.png"],
        ["scene.png"],
        ["thing.png"],
    ]
    folder = Path(sources[0].folder)
    (found,) = find((source(folder, "surface", "*.png", without=frozenset(("wall",))),))
    assert "wall.png" not in [picture.path.name for picture in found]


@pytest.mark.parametrize(
    ("module", "command"),
    [(None, "apt-get install a-package"), ("no_such", "pip install --no-deps a-package")],
)
def test_a_missing_source_names_the_package_and_its_installation(tmp_path, module, command):
    with pytest.raises(InputError) as raised:
        Photographs(2, sources=(source(tmp_path, "scene", "*.jpg", module=module),))
    assert str(raised.value) == f"photographs of 'a-package' are missing: {command}"


def test_a_module_s_files_are_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "raises" / "data").mkdir(parents=True)
    (tmp_path / "raises" / "__init__.py").write_text("raise RuntimeError")
    cv2.imwrite(str(tmp_path / "raises" / "data" / "a.png"), np.zeros((70, 70, 3), np.uint8))
    monkeypatch.syspath_prepend(tmp_path)
    ((picture,),) = find((source("data", "surface", "*.png", module="raises"),))
    assert picture.path.name == "a.png"


def test_the_cache_opens_photographs_by_name(tmp_path, monkeypatch, sources):
    monkeypatch.setattr(
        "zsad_train.tiny.cache.Photographs", lambda *args: Photographs(*args, sources)
    )
    cache = open_cache(tmp_path, "photographs", 4, 0, SIZE)
    sample = Photographs(4, 0, SIZE, sources)[3]
    assert np.array_equal(cache.images[3], sample.image_bgr)
    assert cache.captions[3] == sample.caption


def test_every_source_says_where_it_comes_from():
    for entry in SOURCES:
        assert entry.kind in ("surface", "scene", "cut-out") and entry.weight > 0
        assert entry.licence and entry.version and entry.patterns

import hashlib
import importlib.util
from collections import Counter

import cv2
import numpy as np
import pytest

from zsad.data import SPECS, open_dataset
from zsad.data.elpv import DRAWS
from zsad.errors import InputError, MissingExtraError


def needs(module):
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


needs_elpv = needs("elpv_dataset")
needs_textile = needs("conformal_clip_data")


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 4), value, np.uint8))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a folder pass for an installed package, whichever is asked for."""
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return tmp_path


def write_elpv(folder, probabilities):
    rows = []
    for index, probability in enumerate(probabilities):
        write(folder / f"images/cell{index:04d}.png", index % 256)
        rows.append(f"images/cell{index:04d}.png  {probability}  mono")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("spec", "package"),
    [
        ("elpv", "elpv-dataset"),
        ("elpv-377:3", "elpv-dataset"),
        ("textile-local", "conformal-clip-data"),
        ("textile-global", "conformal-clip-data"),
    ],
)
def test_without_its_package_the_extra_is_named(monkeypatch, spec, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install 'zsad\[demo\]'"):
        open_dataset(spec)


@pytest.mark.parametrize("spec", ["elpv", "elpv-377", "elpv-377:1", "textile-local"])
def test_packaged_sets_are_for_testing_only(spec):
    with pytest.raises(InputError, match="test set and has no split 'train'"):
        open_dataset(spec, split="train")


def test_a_broken_elpv_table_is_named(install):
    (install / "data").mkdir()
    (install / "data" / "labels.csv").write_text("one two\n")
    with pytest.raises(InputError, match=r"labels\.csv is not ELPV's table.*reinstall"):
        open_dataset("elpv")


def test_elpv_keeps_only_certain_cells(install):
    write_elpv(install / "data", ["0.0", "0.3333333333333333", "0.6666666666666666", "1.0"])
    dataset = open_dataset("elpv")
    assert [(s.name, s.label, s.mask) for s in (dataset[0], dataset[1])] == [
        ("images/cell0000", 0, None),
        ("images/cell0003", 1, None),
    ]


def test_elpv_is_read_from_a_folder_too(tmp_path):
    write_elpv(tmp_path, ["0.0", "1.0", "0.0"])
    assert open_dataset(f"elpv:{tmp_path}").labels == (0, 1, 0)
    (tmp_path / "images/cell0002.png").unlink()
    with pytest.raises(InputError, match=r"lacks .*cell0002\.png: expected a clone of zae-bayern"):
        open_dataset(f"elpv:{tmp_path}")
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"is not ELPV's table.*expected a clone of zae-bayern"):
        open_dataset(f"elpv:{tmp_path}")


def test_a_draw_is_the_test_part_of_a_seeded_split(install):
    write_elpv(install / "data", ["0.0"] * 400 + ["1.0"] * 3)
    dataset = open_dataset("elpv-377:5")
    kept = {int(item.path.stem[4:]) for item in dataset.items if not item.label}
    assert kept == set(np.random.RandomState(5).permutation(400)[:377].tolist())
    assert sum(dataset.labels) == 3


@pytest.mark.parametrize("seed", ["x", "-1", "", "1.5"])
def test_a_draw_that_is_no_number_is_named(seed):
    with pytest.raises(InputError, match="does not name a draw: use elpv-377"):
        open_dataset(f"elpv-377:{seed}")


def test_a_draw_from_too_few_cells_is_named(install):
    write_elpv(install / "data", ["0.0", "1.0"])
    with pytest.raises(InputError, match="has 1 normal cells, 377 are to be drawn"):
        open_dataset("elpv-377")
    with pytest.raises(InputError, match=r"use one below 2\^32"):
        open_dataset("elpv-377:4294967296")


@needs_elpv
def test_elpv_has_the_counts_of_the_literature():
    dataset = open_dataset("elpv")
    assert Counter(dataset.labels) == {0: 1508, 1: 715}
    assert not dataset.has_masks and dataset.classes == ("solar cell",)
    assert dataset[0].image_bgr.shape == (300, 300, 3)


@needs_elpv
def test_the_split_of_faprompts_authors_is_the_same_everywhere():
    dataset = open_dataset("elpv-377")
    assert Counter(dataset.labels) == {0: 377, 1: 715}
    names = [item.sample_name for item in dataset.items if not item.label]
    # The list that scikit-learn 1.9.1's train_test_split gives, tried once beside this.
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    assert digest == "d914306818d973d69bfca74dd319fa681a735a87ac0e42b8e389372b4f2049ad"
    assert open_dataset("elpv-377", seed=9).items == dataset.items


@needs_elpv
def test_twenty_draws_differ():
    draws = [open_dataset(f"elpv-377:{seed}") for seed in DRAWS]
    assert len(draws) == 20 == len({draw.items for draw in draws})
    assert len({draw.name for draw in draws}) == 20
    assert all(Counter(draw.labels) == {0: 377, 1: 715} for draw in draws)


@needs_textile
@pytest.mark.parametrize("defect", ["local", "global"])
def test_textile_has_the_counts_of_its_package(defect):
    dataset = open_dataset(f"textile-{defect}")
    assert dataset.name == f"textile-{defect}" and not dataset.has_masks
    assert Counter(dataset.labels) == {0: 1000, 1: 500}
    last = dataset[1499]
    assert (last.name, last.defect_type) == (f"{defect}/textile_0500", defect)
    assert last.image_bgr.shape == (250, 250, 3) and last.mask is None
    assert len({item.sample_name for item in dataset.items}) == 1500


def test_both_textile_sets_share_their_normal_images(install):
    root = install / "data/textile_images/simulated"
    for folder in ("nominal", "local", "global"):
        write(root / folder / "textile_0001.jpg")
    local, everywhere = open_dataset("textile-local"), open_dataset("textile-global")
    assert local.items[0] == everywhere.items[0]
    assert [item.defect_type for item in local.items] == ["good", "local"]
    assert [item.defect_type for item in everywhere.items] == ["good", "global"]


def test_a_textile_package_without_images_is_named(install):
    with pytest.raises(InputError, match=r"nominal holds no image: reinstall"):
        open_dataset("textile-local")


@pytest.mark.parametrize("spec", SPECS)
def test_every_spec_in_the_list_is_known(spec, install):
    # With nothing behind any of them each says what it lacks, in one line.
    spec = spec.replace("PATH", str(install / "none")).replace("SEED", "1")
    spec = spec.replace("FILE:SPEC", f"{install / 'none'}:synthetic")
    if spec.startswith("synthetic"):
        assert len(open_dataset(spec, limit=2)) == 2
        return
    with pytest.raises(InputError) as caught:
        open_dataset(spec)
    assert "unknown data set" not in str(caught.value) and "\n" not in str(caught.value)

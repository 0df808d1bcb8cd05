"""Room in a cache of this device, on entries whose size and last use are known."""

import os
import shutil

import pytest

from zsad.device_cache import make_room


@pytest.fixture
def entries(tmp_path):
    """Four entries of 100 bytes each, used in the order of their names."""
    for age, name in enumerate("abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_bytes(bytes(100))
        os.utime(tmp_path / name, (age, age))
    return list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limit", "kept"),
    [(400, "abcd"), (399, "bcd"), (300, "bcd"), (200, "cd"), (199, "d"), (1, "d")],
)
def test_what_was_longest_unused_goes_first(entries, tmp_path, limit, kept):
    make_room(entries, tmp_path / "d", limit)
    assert sorted(path.name for path in tmp_path.iterdir()) == list(kept)


def test_the_entry_in_use_stays_whatever_its_age_and_size(entries, tmp_path):
    make_room(entries, tmp_path / "a", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_cannot_be_removed_frees_nothing(entries, tmp_path, monkeypatch):
    rmtree = shutil.rmtree
    stuck = tmp_path / "a"
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: path == stuck or rmtree(path))
    make_room(entries, tmp_path / "d", 300)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_an_entry_that_another_process_removed_is_no_error(entries, tmp_path):
    shutil.rmtree(tmp_path / "a")
    make_room(entries, tmp_path / "d", 300)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "d"]

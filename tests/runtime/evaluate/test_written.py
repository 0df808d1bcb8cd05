"""An evaluation as files and as a table."""

import pytest
from made_parts import ListDataset, parts, run, without_masks

from zsad.errors import InputError
from zsad.evaluate import markdown, read_evaluation, text_table, write_evaluation


def test_what_is_written_can_be_read_back(tmp_path):
    found = run(ListDataset(parts("plate") + parts("ring")))
    write_evaluation(tmp_path / "eval.json", found)
    assert read_evaluation(tmp_path / "eval.json") == found
    assert (tmp_path / "eval.md").read_text() == markdown(found)


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "eval.json"
    path.write_text('{"schema": 3}')
    with pytest.raises(InputError, match="schema 1 to 2"):
        read_evaluation(path)


def test_tables_show_every_class_the_mean_and_the_floor_in_percent():
    found = run(ListDataset(parts("plate") + parts("ring")))
    head, _, *rows = text_table(found).splitlines()
    assert head.split()[:3] == ["class", "good", "defective"]
    assert [row.split()[0] for row in rows[:4]] == ["plate", "ring", "mean", "floor"]
    assert rows[0].split()[1:4] == ["6", "6", "100.0"]
    assert found.image_floor in text_table(found)
    assert "| over the floor |" in markdown(found)


def test_few_images_come_with_a_warning():
    warning = "fewer than 20 good or defective images"
    assert warning in text_table(run(without_masks(parts(n=38))))
    assert warning not in text_table(run(without_masks(parts(n=40))))

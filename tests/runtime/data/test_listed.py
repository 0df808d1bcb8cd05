import json

import cv2
import numpy as np
import pytest

from zsad.data import open_dataset
from zsad.errors import InputError

HEAD = "object,split,label,image,mask"
GOOD_ROW = "pipe_fryum,test,normal,pipe_fryum/Data/Images/Normal/0.JPG,"
BAD_ROW = (
    "pipe_fryum,test,anomaly,pipe_fryum/Data/Images/Anomaly/0.JPG,"
    "pipe_fryum/Data/Masks/Anomaly/0.png"
)
TRAIN_ROW = "pipe_fryum,train,normal,pipe_fryum/Data/Images/Normal/1.JPG,"


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 5), value, np.uint8))


@pytest.fixture
def visa(tmp_path):
    for name in ("Normal/0", "Normal/1", "Anomaly/0"):
        write(tmp_path / f"pipe_fryum/Data/Images/{name}.JPG")
    # VisA's masks number their regions; a faint number is still a defect.
    write(tmp_path / "pipe_fryum/Data/Masks/Anomaly/0.png", 2)
    (tmp_path / "split_csv").mkdir()
    rows = [HEAD, GOOD_ROW, BAD_ROW, TRAIN_ROW]
    (tmp_path / "split_csv/1cls.csv").write_text("\n".join(rows))
    return tmp_path


def test_visa_is_read_by_its_list(visa):
    dataset = open_dataset(f"visa:{visa}")
    good, bad = dataset[0], dataset[1]
    assert (good.label, bad.label, bad.class_name) == (0, 1, "pipe fryum")
    assert bad.mask.all() and not good.mask.any()
    assert good.name == "pipe_fryum/Data/Images/Normal/0"
    assert open_dataset(f"visa:{visa}", split="train").labels == (0,)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "expected the list split_csv/1cls.csv"),
        ("object,image\na,b", "has no column split, label, mask"),
        (f"{HEAD}\n{TRAIN_ROW}", "lists no image of split 'test'"),
        (f"{HEAD}\n{GOOD_ROW.replace('0.JPG', '7.JPG')}", r"names .*7\.JPG, which is not below"),
    ],
)
def test_a_visa_list_that_cannot_be_used_is_named(visa, text, error):
    path = visa / "split_csv/1cls.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=error) as caught:
        open_dataset(f"visa:{visa}")
    assert "\n" not in str(caught.value)


def image(path, mask="", kind="good", anomaly=0):
    return {
        "img_path": path, "mask_path": mask, "cls_name": "cup", "specie_name": kind,
        "anomaly": anomaly,
    }  # fmt: skip


def meta(folder, *rows, split="test"):
    (folder / "meta.json").write_text(json.dumps({split: {"cup": list(rows)}}))
    return f"meta:{folder}"


def test_a_meta_file_names_images_masks_and_types(tmp_path):
    write(tmp_path / "a/0.png")
    write(tmp_path / "b/0.png")
    write(tmp_path / "m/0.png", 255)
    rows = (image("a/0.png"), image("b/0.png", "m/0.png", "bent", 1))
    spec = meta(tmp_path, *rows)
    for form in (spec, f"{spec}/meta.json"):
        dataset = open_dataset(form)
        assert [dataset[i].defect_type for i in range(2)] == ["good", "bent"]
        assert dataset[1].mask.all() and not dataset[0].mask.any()
        assert [dataset[i].name for i in range(2)] == ["a/0", "b/0"]


def test_a_meta_file_without_any_mask_is_a_set_without(tmp_path):
    for name in ("a/0", "b/0"):
        write(tmp_path / f"{name}.png", 255)
    dataset = open_dataset(meta(tmp_path, image("a/0.png"), image("b/0.png", None, "x", 1)))
    assert not dataset.has_masks and all(dataset[i].mask is None for i in range(2))


def test_masks_for_some_anomalies_only_are_not_dropped_in_silence(tmp_path):
    for name in ("a/0", "b/0", "b/1", "m/0"):
        write(tmp_path / f"{name}.png", 255)
    rows = (image("a/0.png"), image("b/0.png", "m/0.png", "bent", 1), image("b/1.png", "", "x", 1))
    with pytest.raises(InputError, match=r"1 of 2 anomalous images have no mask.*b.1\.png"):
        open_dataset(meta(tmp_path, *rows))


@pytest.mark.parametrize("yes", [1, True, 1.0])
@pytest.mark.parametrize("kind", ["good", "", "bent", None])
def test_the_label_is_the_anomaly_whatever_the_kind_is_called(tmp_path, yes, kind):
    for name in ("a/0", "b/0"):
        write(tmp_path / f"{name}.png")
    rows = (image("a/0.png", kind="bent", anomaly=0), image("b/0.png", kind=kind, anomaly=yes))
    dataset = open_dataset(meta(tmp_path, *rows))
    assert dataset.labels == (0, 1)
    assert dataset[1].defect_type == ("bent" if kind == "bent" else "anomaly")


@pytest.mark.parametrize("anomaly", ["0", "1", 2, -1, None, []])
def test_any_other_label_is_an_error(tmp_path, anomaly):
    write(tmp_path / "a/0.png")
    with pytest.raises(InputError, match=r"anomaly of a/0\.png must be 0 or 1"):
        open_dataset(meta(tmp_path, image("a/0.png", anomaly=anomaly)))


def test_names_are_below_the_list_also_where_its_paths_are_absolute(tmp_path):
    write(tmp_path / "a/0.png")
    assert open_dataset(meta(tmp_path, image(str(tmp_path / "a/0.png"))))[0].name == "a/0"


def test_an_image_that_is_listed_twice_is_an_error_before_anything_is_judged(tmp_path):
    write(tmp_path / "a/0.png")
    with pytest.raises(InputError, match="two images are named 'a/0'"):
        open_dataset(meta(tmp_path, image("a/0.png"), image("a/0.png")))


def test_the_mark_of_a_windows_editor_is_skipped(tmp_path):
    write(tmp_path / "a/0.png")
    spec = meta(tmp_path, image("a/0.png"))
    path = tmp_path / "meta.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(open_dataset(spec)) == 1


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", "cannot be read"),
        ("[]", "has no split 'test': expected split/class/images, found list"),
        ('{"train": {}}', "has no split 'test': .* found train"),
        ('{"test": {"cup": [{"img_path": "a"}]}}', "an image has no mask_path, cls_name"),
        ("[" * 100_000, "cannot be read: it is nested too deeply"),
        (json.dumps({"test": {"c": [image("")]}}), "img_path and cls_name must be text"),
        (json.dumps({"test": {"c": [image(None)]}}), "img_path and cls_name must be text"),
        ('{"test": {}}', "lists no image of split 'test'"),
    ],
)
def test_a_meta_file_that_cannot_be_used_is_named(tmp_path, content, error):
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(InputError, match=error) as caught:
        open_dataset(f"meta:{tmp_path}")
    assert "\n" not in str(caught.value)

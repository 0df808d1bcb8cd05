import numpy as np
import pytest

from published import published
from zsad.errors import InputError


def test_the_figures_of_a_cell_are_those_of_the_paper():
    tables = published()
    assert tables.figures("dive", "dtd", "mvtec", "dive") == {
        "image_auroc": 89.3, "image_ap": 73.9, "pixel_auroc": 90.5, "aupro": 80.9, "rcpro": 37.0,
    }  # fmt: skip
    assert tables.figures("faprompt", "mvtec", "elpv-377", "faprompt") == {
        "image_auroc": 83.5, "image_ap": 92.0,
    }  # fmt: skip
    assert tables.figures("dive", "dtd", "elpv-377", "dive") == {}


@pytest.mark.parametrize(
    ("trained_on", "method", "means"),
    [
        ("dtd", "dive", (87.3, 69.3, 87.3, 71.1, 40.4)),
        ("dtd", "anomalyclip", (79.3, 51.7, 72.9, 32.5, 16.3)),
        ("dtd", "tps", (81.6, 60.5, 63.9, 24.6, 17.2)),
        ("mvtec", "dive", (90.1, 74.6, 91.1, 75.0, 43.7)),
        ("mvtec", "aa-clip", (78.6, 52.2, 83.3, 65.5, 34.3)),
    ],
)
def test_dives_averages_follow_from_its_rows(trained_on, method, means):
    # The papers' own average rows, which the file leaves out, catch a mistyped figure.
    tables = published()
    rows = [
        tables.figures("dive", trained_on, name, method)
        for name in tables.tested_on("dive", trained_on)
    ]
    for metric, mean in zip(
        ("image_auroc", "image_ap", "pixel_auroc", "aupro", "rcpro"), means, strict=True
    ):
        found = np.mean([row[metric] for row in rows if metric in row])
        assert found == pytest.approx(mean, abs=0.06)


def test_every_row_has_every_method_and_metric():
    for table in published().tables:
        for name, row in table.rows.items():
            assert len(row) == len(table.methods), name
            assert {len(values) for values in row} == {len(table.metrics)}, name
            assert all(0 <= value <= 100 for values in row for value in values)


def test_mvtec_is_tested_with_another_set():
    assert published().trained_for("dive", "mvtec") == "dtd"
    assert published().trained_for("faprompt", "mvtec") == "visa"
    with pytest.raises(InputError, match="dive does not test on 'dagm': choose one of headct"):
        published().trained_for("dive", "dagm")
    assert published().tested_on("dive", "visa") == ()

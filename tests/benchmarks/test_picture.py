import cv2
import numpy as np
from click.testing import CliRunner

from picture import COLUMNS, GAP_PX, main, sheet


def test_pairs_stand_in_rows_on_white():
    pairs = [np.full((2, 4, 3), level, np.uint8) for level in range(COLUMNS + 1)]
    canvas = sheet(pairs)
    assert canvas.shape == (4 + GAP_PX, COLUMNS * (4 + GAP_PX) - GAP_PX, 3)
    assert canvas[0, 4 + GAP_PX, 0] == 1  # second pair, first row
    assert canvas[2 + GAP_PX, 0, 0] == COLUMNS  # last pair, second row
    assert (canvas[2 + GAP_PX :, 4 + GAP_PX :] == 255).all()


def test_shows_the_first_frames_of_the_set_beside_their_heat_maps(make_artifact, tmp_path):
    out = tmp_path / "new" / "sheet.jpg"
    arguments = [str(make_artifact()), "--out", str(out), "--count", "2", "--side", "64"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    picture = cv2.imread(str(out))
    assert picture.shape == (64, COLUMNS * (128 + GAP_PX) - GAP_PX, 3)
    frame, heat = picture[:, :64], picture[:, 64:128]
    assert np.abs(frame.astype(int) - heat).mean() > 1

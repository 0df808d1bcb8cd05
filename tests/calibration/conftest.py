import cv2
import pytest
from calibrate_rig import LEVELS, frame


@pytest.fixture
def good(tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    for level in LEVELS:
        cv2.imwrite(str(folder / f"p{level}.png"), frame(level))
    return folder

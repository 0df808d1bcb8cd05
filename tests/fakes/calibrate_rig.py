"""`zsad-calibrate` on grey frames whose scores are known by hand."""

import numpy as np
from click.testing import CliRunner

from zsad_calibration.cli import main

LEVELS = (50, 60, 70, 80, 90)


def frame(level, hot=None):
    pixels = np.full((8, 12, 3), level, np.uint8)
    if hot is not None:
        pixels[0, 0] = hot
    return pixels


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def calibrated(artifact, good, tmp_path, *options):
    recipe = tmp_path / "part.json"
    result = run(artifact, "--good", good, "--recipe", recipe, *options)
    assert result.exit_code == 0, result.output
    return recipe, result.output

import numpy as np
import pytest

from zsad_calibration.probing.runner import GraphRunner


def test_a_runner_is_closed_once_or_more_often_and_gives_its_memory_back(path, images):
    with GraphRunner(path) as runner:
        (score,) = runner.run(np.stack(images), ["score"])
        runner.close()
    runner.close()
    assert score.shape == (len(images),)
    with pytest.raises(AssertionError, match="the runner is closed"):
        runner.outputs  # noqa: B018

import numpy as np
import pytest
import torch

from zsad.errors import InputError
from zsad.types import Verdict
from zsad_train.batches import preprocess_spec, to_tensor
from zsad_train.checkpoint import save_checkpoint
from zsad_train.predictor import CheckpointPredictor


@pytest.fixture
def dive(moved):
    return moved()


@pytest.fixture
def predictor(dive, tmp_path):
    save_checkpoint(tmp_path / "dive.pt", dive, {})
    return CheckpointPredictor.load(tmp_path / "dive.pt")


def test_a_frame_is_scored_as_the_method_scores_it(dive, predictor):
    frame = np.random.default_rng(0).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = dive(to_tensor(frame, preprocess_spec(dive.backbone.info))[None])
    result = predictor.predict(frame)
    assert result.score == pytest.approx(expected.score.item(), abs=1e-5)
    np.testing.assert_allclose(result.anomaly_map, expected.anomaly_map[0].numpy(), atol=1e-5)
    assert result.anomaly_map.dtype == np.float32
    assert result.verdict is Verdict.UNCALIBRATED and result.is_anomalous is None


def test_what_is_no_frame_is_refused(predictor):
    with pytest.raises(InputError, match="8 bits"):
        predictor.predict(np.zeros((32, 32, 3), dtype=np.uint16))

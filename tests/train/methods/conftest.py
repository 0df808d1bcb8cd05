"""What the tests of every method share: comparing predictions, and running an exported graph.

`naive_cops` is shared by several tests of this folder, which is no package.
"""

import io
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def assert_same():
    """Return `check(found, expected, tolerance=1e-5)` of two predictions."""

    def check(found, expected, tolerance=1e-5):
        for name in ("score", "anomaly_map", "score_logit"):
            torch.testing.assert_close(
                getattr(found, name),
                getattr(expected, name),
                rtol=tolerance,
                atol=tolerance,
                msg=name,
            )

    return check


@pytest.fixture
def run_exported():
    """Return `export(module, images) -> run(images)`, on ONNX Runtime at any batch size."""

    def export(module, images):
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["score", "anomaly_map", "score_logit"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=18,
            verbose=False,
            optimize=False,
        )
        stream = io.BytesIO()
        program.save(stream)
        session = onnxruntime.InferenceSession(
            stream.getvalue(), providers=["CPUExecutionProvider"]
        )
        return lambda batch: session.run(None, {"images": batch.numpy()})

    return export

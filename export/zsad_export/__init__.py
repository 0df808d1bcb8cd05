"""Baking, ONNX export, parity gate, engine builds and evaluation."""

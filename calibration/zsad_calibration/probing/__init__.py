"""ONNX graphs run on the CPU with a look at their inner tensors. Needs onnx; torch-free."""

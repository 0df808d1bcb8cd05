"""INT8: activation ranges from calibration frames, and explicit Q/DQ graphs. Torch-free."""

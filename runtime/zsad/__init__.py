"""Torch-free runtime of zsad: what a device installs."""

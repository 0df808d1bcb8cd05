"""The embedded backbones: small CLIPs trained on generated data, and how they were made."""

from zsad_train.tiny.config import IMAGE_SIZE, MEAN, STD, build_tiny
from zsad_train.tiny.loader import EMBEDDED, load_tiny, whole_state

__all__ = ["EMBEDDED", "IMAGE_SIZE", "MEAN", "STD", "build_tiny", "load_tiny", "whole_state"]

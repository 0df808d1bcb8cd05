"""Inference engines behind one small interface: named arrays in, named arrays out."""

from zsad.backends.base import BACKENDS, Backend, open_backend

__all__ = ["BACKENDS", "Backend", "open_backend"]

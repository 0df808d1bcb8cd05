"""A procedural generator of captioned parts and surfaces with pixel-exact defects."""

from zsad.data.synthetic.dataset import SyntheticDataset, render

__all__ = ["SyntheticDataset", "render"]

"""Data sets of images with labels and, where there are any, pixel masks. Free of torch."""

from zsad.data.open import SPECS, open_dataset
from zsad.data.types import GOOD, Dataset, Sample

__all__ = ["GOOD", "SPECS", "Dataset", "Sample", "open_dataset"]

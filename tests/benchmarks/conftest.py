"""The benchmarks are scripts, not a package: their folder is what Python puts on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

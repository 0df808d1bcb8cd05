"""`made_parts` is shared by the tests of this folder, which are no package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

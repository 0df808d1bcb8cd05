"""Where a frame is judged, in which pieces, and how frames become verdicts about parts."""

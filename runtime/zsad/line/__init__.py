"""The daemon: cameras in, verdicts about parts out, each committed before anyone is told."""
